"""`agreement`: how drafts compare with the reports that people signed afterwards."""

from __future__ import annotations

import typer

from service.cli.common import ConfigOption, JsonOption, open_migrated_book, print_json, print_table
from service.settings import load_settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(agreement)


def agreement(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """How often drafts and the signed reports that came afterwards agree, by label."""
    from service.agreement import Verdict
    from service.book import final_reports

    engine = open_migrated_book(load_settings(config)).engine
    counted = final_reports.agreement(engine)
    if as_json:
        print_json({"signed_studies": final_reports.signed_studies(engine), "labels": counted})
        return
    print_table(
        ["label", *(verdict.value for verdict in Verdict)],
        [[label, *(found.get(verdict, 0) for verdict in Verdict)] for label, found in counted.items()],
    )
