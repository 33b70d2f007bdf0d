"""`drift`: whether images of each device, and what is read of them, are still what they were."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from service.cli.common import ConfigOption, JsonOption, open_migrated_book, print_json, print_table
from service.settings import load_settings

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_devices(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Judge every device now: its first images against its newest; exit status 1 where something has changed."""
    from service.drift_watch import drift_terms, judged

    settings = load_settings(config)
    terms = drift_terms(settings)
    found = judged(open_migrated_book(settings).engine, terms)
    rows: list[dict[str, Any]] = [
        {
            "device": one.source_id,
            "name": one.device.name,
            "weights_sha256": one.weights_sha256,
            "first": len(one.first),
            "later": len(one.later),
            "quantities": [asdict(verdict) for verdict in verdicts],
        }
        for one, verdicts in found
    ]
    changed = any(quantity["changed"] for row in rows for quantity in row["quantities"])
    if as_json:
        print_json(rows)
    else:
        _print(rows, terms.baseline_images)
    if changed:
        raise typer.Exit(1)


def _print(rows: list[dict[str, Any]], base: int) -> None:
    told = []
    for row in rows:
        about = [row["device"], row["name"], row["weights_sha256"][:12], row["first"] + row["later"]]
        if not row["quantities"]:
            told.append([*about, "learning", f"{row['first']} of the first {base} images"])
        for quantity in row["quantities"]:
            told.append([*about, "CHANGED" if quantity["changed"] else "steady", quantity["evidence"]])
    print_table(["device", "name", "model", "images", "state", "evidence"], told)


@app.command()
def accept(
    device: Annotated[int, typer.Argument(min=1, help="Number of the device, from `raddraft drift list`.")],
    config: ConfigOption = None,
) -> None:
    """Take a device's change as known and wanted: what comes from now on is what it is compared with."""
    from service.book.audit import user_actor
    from service.book.observations import begin_anew
    from service.clock import now_utc

    book = open_migrated_book(load_settings(config))
    begin_anew(book.engine, device, actor=user_actor(), now=now_utc())
    typer.echo(f"device {device}: its next images are the new base")
