"""`model use` and `model list`: which package the workers read with, exchanged without losing a study."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from service.cli.common import ConfigOption, JsonOption, print_json, print_table
from service.settings import Settings, load_settings

if TYPE_CHECKING:
    from service.book import Book

_LOOK_S = 1.0
# Until then a worker's figures may speak of an order before this one.
_STALE_S = 10.0


def use(
    path: Annotated[
        str | None, typer.Argument(help="'embedded' or the folder of a model package, as the workers see it.")
    ] = None,
    configured: Annotated[
        bool, typer.Option("--configured", help="Leave it to model.path of the configuration again.")
    ] = False,
    wait_s: Annotated[
        float, typer.Option(min=0, help="How long to wait until every live worker has it; 0 does not.")
    ] = 300.0,
    config: ConfigOption = None,
) -> None:
    """Let every worker load another model beside the present one and read the next studies with it."""
    if (path is None) == (not configured):
        raise typer.BadParameter("name a package, or --configured")
    settings = load_settings(config)
    from service.book.model_orders import order_model

    book = _book(settings)
    wanted = "embedded" if path == "embedded" else str(Path(path).resolve()) if path else None
    described = _verified(settings, wanted or settings.model.path)
    order_model(book.engine, wanted)
    if wait_s == 0:
        typer.echo("ordered; `raddraft model list` shows what the workers read with")
        return
    with Console(stderr=True).status("waiting for the workers"):
        left = _wait(book, described, time.monotonic() + wait_s)
    if left:
        typer.echo("\n".join(left), err=True)
        raise typer.Exit(1)
    typer.echo(f"every live worker reads with {described['name']} {described['version']}")


def packages(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the model packages this installation names, and what each live worker reads with."""
    settings = load_settings(config)
    from service.book.model_orders import ordered_model

    book = _book(settings)
    named = {"embedded": "embedded", "configuration": settings.model.path}
    ordered = ordered_model(book.engine)
    named |= {"ordered": ordered} if ordered else {}
    named |= {"shadow": settings.model.shadow} if settings.model.shadow else {}
    rows = [{"where": where, "path": path, **_words(settings, path)} for where, path in named.items()]
    workers = [
        {
            "where": role.name,
            "path": "",
            **_identity(role.figures["model"]),
            "problem": role.figures["model_refused"],
        }
        for role in book.roles()
        if role.figures
    ]
    if as_json:
        print_json({"packages": rows, "workers": workers})
        return
    columns = ["where", "path", "name", "version", "precision", "weights_sha256", "problem"]
    print_table(columns, [[str(row[key])[:40] for key in columns] for row in (*rows, *workers)])


def _book(settings: Settings) -> Book:
    from service.book import migrate, open_book
    from service.house import database_url

    migrate(database_url(settings))
    return open_book(database_url(settings))


def _verified(settings: Settings, path: str) -> dict[str, Any]:
    """Name, version and weights of a package whose files were all read; of a served model its description's."""
    from inference import open_package
    from inference.served import open_description

    package = (open_description if settings.model.backend == "openai" else open_package)(path)
    manifest = package.manifest
    return {
        "name": manifest.name,
        "version": manifest.version,
        "precision": manifest.precision,
        "weights_sha256": package.weights_sha256,
    }


def _words(settings: Settings, path: str) -> dict[str, str]:
    from clinical import RadDraftError

    try:
        return {**_verified(settings, path), "problem": ""}
    except RadDraftError as error:
        return {
            **dict.fromkeys(("name", "version", "precision", "weights_sha256"), ""),
            "problem": error.code,
        }


def _identity(told: dict[str, Any]) -> dict[str, Any]:
    return {key: told[key] for key in ("name", "version", "precision", "weights_sha256")}


def _refusal(figures: Mapping[str, Any]) -> str:
    return f"{figures['model_refused']}: {figures.get('model_refused_reason', '')}".removesuffix(": ")


def _wait(book: Book, described: dict[str, Any], until_s: float) -> list[str]:
    """Sentences about live workers that do not read with the model; none when all do."""
    fresh_from_s = time.monotonic() + _STALE_S
    while True:
        workers = [role for role in book.roles() if role.figures]
        left = [role for role in workers if _identity(role.figures["model"]) != described]
        refused = [role for role in left if role.figures["model_refused"]]
        if not workers:
            return ["no reading worker is alive; the next that starts takes the ordered model"]
        if refused and time.monotonic() > fresh_from_s:
            return [f"{role.name} refused it: {_refusal(role.figures)}" for role in refused]
        if not left:
            return []
        if time.monotonic() > until_s:
            return [f"{role.name} has not taken it yet" for role in left]
        time.sleep(_LOOK_S)
