"""`audit list` and `audit verify`: who did what, and whether the log is what was written."""

from __future__ import annotations

from typing import Annotated

import typer

from service.cli.common import ConfigOption, JsonOption, open_migrated_book, print_json, print_table
from service.settings import load_settings

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_entries(
    after: Annotated[
        int | None, typer.Option(min=0, help="Rows with numbers above this; the newest without it.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000)] = 100,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List who did what, oldest first. Patients' data are named by row number."""
    from service.book.audit import audit_entries, newest_audit_entries

    engine = open_migrated_book(load_settings(config)).engine
    found = (
        newest_audit_entries(engine, limit)
        if after is None
        else audit_entries(engine, after=after, limit=limit)
    )
    if as_json:
        print_json(found)
        return
    print_table(
        ["number", "time (UTC)", "who", "what", "of", "outcome", "detail"],
        [
            [
                entry.number,
                entry.at_utc.strftime("%Y-%m-%d %H:%M:%S"),
                entry.actor,
                entry.action,
                f"{entry.subject} {entry.subject_id}" if entry.subject_id is not None else entry.subject,
                entry.outcome,
                entry.detail,
            ]
            for entry in found
        ],
    )


@app.command()
def verify(
    head: Annotated[str, typer.Option(help="NUMBER:SHA256 of an earlier verification, kept elsewhere.")] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Follow the chain of digests through the whole log. Exit status 1 where it is broken.

    Keep the printed head outside the database: given to a later verification, it also finds a log that was cut off
    or written anew.
    """
    from service.book.audit import verify_audit

    verdict = verify_audit(open_migrated_book(load_settings(config)).engine, head)
    if as_json:
        print_json({"whole": verdict.whole, **_fields(verdict.rows, verdict.broken_at, verdict.head)})
    elif verdict.whole:
        typer.echo(f"whole: {verdict.rows} rows, head {verdict.head}")
    else:
        typer.echo(f"broken at row {verdict.broken_at}: {verdict.reason}")
    if not verdict.whole:
        raise typer.Exit(1)


def _fields(rows: int, broken_at: int | None, head: str) -> dict[str, object]:
    return {"rows": rows, "broken_at": broken_at, "head": head}
