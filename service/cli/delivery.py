"""`destinations`, `resend`, `hold` and `release`: the operator's hand on what is sent where."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.common import ConfigOption, JsonOption, open_migrated_book, print_json, print_table
from service.settings import Settings, load_settings

if TYPE_CHECKING:
    from service.book.resending import DeliveryQuery

StudyArgument = Annotated[str, typer.Argument(help="One study; every study without it.")]
DestinationOption = Annotated[str, typer.Option(help="Only to this destination.")]
KindOption = Annotated[str, typer.Option(help="Only results of this kind: sr, pr, sc, fhir ...")]
_TIME = "a time as 2026-01-31T08:00 in UTC"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(destinations)
    app.command()(resend)
    app.command()(hold)
    app.command()(release)


def destinations(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the destinations and how they stand: well, failing, left alone for a while, held."""
    from service.book.circuits import Circuit, circuits

    settings = load_settings(config)
    known = {circuit.destination: circuit for circuit in circuits(open_migrated_book(settings).engine)}
    listed = [
        known.get(entry.name, Circuit(entry.name, False, 0, None, None, ""))
        for entry in settings.destinations
    ]
    if as_json:
        print_json([{"destination": c.destination, "state": c.state, **_fields(c)} for c in listed])
        return
    print_table(
        ["destination", "state", "failures", "since (UTC)", "tried again (UTC)", "reason"],
        [
            [
                c.destination,
                c.state,
                c.failures,
                _time(c.failing_since_utc),
                _time(c.retry_at_utc),
                c.reason_code,
            ]
            for c in listed
        ],
    )


def _fields(circuit: object) -> dict[str, object]:
    names = ("held", "failures", "failing_since_utc", "retry_at_utc", "reason_code")
    return {name: getattr(circuit, name) for name in names}


def _time(at: datetime | None) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S") if at else ""


def resend(
    study_uid: StudyArgument = "",
    destination: DestinationOption = "",
    kind: KindOption = "",
    state: Annotated[str, typer.Option(help="Only what is delivered, refused, gave_up or would_send.")] = "",
    since: Annotated[str, typer.Option(help=f"Put into the outbox from here on: {_TIME}.")] = "",
    until: Annotated[str, typer.Option(help=f"Put into the outbox before: {_TIME}.")] = "",
    dry_run: Annotated[bool, typer.Option(help="Only say how many.")] = False,
    config: ConfigOption = None,
) -> None:
    """Send results again, the stored bytes as they are: what was delivered, refused, given up or only tried out.

    Results of an older version of a study's draft are left alone. Without anything to choose by it is refused.
    """
    from service.book.audit import user_actor
    from service.book.resending import AGAIN, DeliveryQuery, would_resend
    from service.book.resending import resend as send_again
    from service.book.states import DeliveryState
    from service.clock import now_utc

    choices = [s.value for s in AGAIN]
    if state and state not in choices:
        raise typer.BadParameter(f"no such state: {state}; what can be sent again is {', '.join(choices)}")
    settings = load_settings(config)
    query = DeliveryQuery(
        study_instance_uid=study_uid,
        destination=_known(settings, destination),
        kind=kind,
        state=DeliveryState(state) if state else None,
        since_utc=_parsed(since),
        until_utc=_parsed(until),
    )
    if not query.chooses:
        raise typer.BadParameter("say what to send again: a study, --destination, --since ...")
    engine = open_migrated_book(settings).engine
    if dry_run:
        typer.echo(f"{would_resend(engine, query)} would be sent again")
        return
    typer.echo(f"{send_again(engine, query, actor=user_actor(), now=now_utc())} are sent again")


def hold(
    study_uid: StudyArgument = "",
    destination: DestinationOption = "",
    kind: KindOption = "",
    config: ConfigOption = None,
) -> None:
    """Keep results back: of one study, or everything to one destination, what comes later included.

    With a study, for one destination or all, what of it is told later is held too, until `raddraft release` names it.
    With --kind, what waits at this moment is held; with --destination alone nothing is sent there until
    `raddraft release --destination`.
    """
    from service.book.resending import hold as hold_back

    settings = load_settings(config)
    query = _chosen(settings, study_uid, destination, kind)
    if _is_whole_destination(query):
        _switch(settings, query.destination, held=True)
        return
    count = _change(settings, query, hold_back)
    later = ", and what is told later" if query.study_instance_uid and query.is_study_at_destination else ""
    typer.echo(f"{count} are held{later}")


def release(
    study_uid: StudyArgument = "",
    destination: DestinationOption = "",
    kind: KindOption = "",
    config: ConfigOption = None,
) -> None:
    """Let held results go; with --destination alone that destination is sent to again, at once."""
    from service.book.resending import release as let_go

    settings = load_settings(config)
    query = _chosen(settings, study_uid, destination, kind)
    if _is_whole_destination(query):
        _switch(settings, query.destination, held=False)
    typer.echo(f"{_change(settings, query, let_go)} are released")


def _chosen(settings: Settings, study_uid: str, destination: str, kind: str) -> DeliveryQuery:
    from service.book.resending import DeliveryQuery

    query = DeliveryQuery(study_uid, _known(settings, destination), kind)
    if not query.chooses:
        raise typer.BadParameter("say what: a study, --destination or --kind")
    return query


def _is_whole_destination(query: DeliveryQuery) -> bool:
    return bool(query.destination) and not query.study_instance_uid and not query.kind


def _switch(settings: Settings, destination: str, *, held: bool) -> None:
    from service.book.audit import user_actor
    from service.book.circuits import hold_destination
    from service.clock import now_utc

    engine = open_migrated_book(settings).engine
    hold_destination(engine, destination, held, actor=user_actor(), now=now_utc())
    typer.echo(f"{destination} is {'held' if held else 'released'}")


def _change(settings: Settings, query: DeliveryQuery, change: Callable[..., int]) -> int:
    from service.book.audit import user_actor
    from service.clock import now_utc

    return change(open_migrated_book(settings).engine, query, actor=user_actor(), now=now_utc())


def _known(settings: Settings, destination: str) -> str:
    names = [entry.name for entry in settings.destinations]
    if destination and destination not in names:
        raise typer.BadParameter(
            f"no such destination: {destination}; there are {', '.join(names) or 'none'}"
        )
    return destination


def _parsed(text: str) -> datetime | None:
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"'{text}' is no time; give {_TIME}") from None
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
