"""`raddraft preview`: what a destination gets of a study, without sending it."""

from __future__ import annotations

from typing import Annotated

import typer

from service.cli.common import ConfigOption, JsonOption, print_json, print_table
from service.settings import load_settings


def preview(
    study_uid: str,
    destination: Annotated[str, typer.Option(help="Name of the destination.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a destination gets of a study's newest draft: messages in full, objects by name. Nothing is sent."""
    from service.book.audit import Action, AuditEvent, Subject, record, user_actor
    from service.clock import now_utc
    from service.house import open_house
    from service.io_worker import destinations
    from service.previewing import preview as look

    settings = load_settings(config)
    names = [entry.name for entry in settings.destinations]
    if destination not in names:
        raise typer.BadParameter(
            f"no such destination: {destination}; there are {', '.join(names) or 'none'}"
        )
    house = open_house(settings)
    found = look(house, destinations(settings), study_uid, destination)
    seen = AuditEvent(
        Action.VIEW, user_actor(), Subject.STUDY, house.book.study_row_id(study_uid),
        detail=f"preview {destination}",
    )  # fmt: skip
    record(house.book.engine, seen, now=now_utc())
    if as_json:
        print_json(found)
        return
    print_table(
        ["result", "file", "bytes", "object", "state", "reason"],
        [[i.kind, i.file_name, i.size_bytes, i.sop_class, i.state, i.reason] for i in found.items],
        title=f"version {found.draft_version} at {found.destination}",
    )
    for item in found.items:
        if item.text:
            typer.echo(f"\n--- {item.file_name}")
            typer.echo(item.text)


def register(app: typer.Typer) -> None:
    """Add the command to the tree."""
    app.command()(preview)
