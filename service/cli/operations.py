"""`studies`, `show`, `retry`, `retract`, `drop-image`, `account`: where study X is, and whether the book balances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.common import ConfigOption, JsonOption, open_migrated_book, print_json, print_table
from service.settings import load_settings

if TYPE_CHECKING:
    from service.book import Stuck


_OFF = "[[destinations]] confirm = false lets them go"
# By the state of what an archive was asked.
_WHY_KEPT = {
    "due": "{} is about to be asked whether it keeps them",
    "asked": "{} has not answered yet whether it keeps them",
    "not_asked": "{} has not been asked yet whether it keeps them; a purge asks",
    "lost": "{} took them and does not hold them; see `raddraft account`",
    "gave_up": "{} never took them; see `raddraft account`",
    "not_to_be_known": f"{{}} offers neither storage commitment nor a query; {_OFF}",
}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(studies)
    app.command()(show)
    app.command()(retry)
    app.command()(retract)
    app.command("drop-image")(drop_image)
    app.command()(account)
    app.command()(purge)


def studies(
    state: Annotated[str | None, typer.Option(help="Only studies in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000)] = 100,
    after: Annotated[
        str, typer.Option(help="Go on after this place in the list, which the page before ends with.")
    ] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List studies, the most recently changed first."""
    from service.book import StudyCursor, StudyState

    known = [each.value for each in StudyState]
    if state is not None and state not in known:
        raise typer.BadParameter(f"no such state: {state}; the states are {', '.join(known)}")
    listed = open_migrated_book(load_settings(config)).studies(
        state=state, limit=limit, after=StudyCursor.parse(after) if after else None
    )
    if as_json:
        print_json(listed)
        return
    print_table(
        ["study", "state", "result", "verify first", "objects", "received (UTC)", "reason"],
        [
            [
                s.study_instance_uid,
                s.state,
                f"{s.outcome} v{s.draft_version}" if s.draft_version else "",
                s.critical,
                s.image_count,
                s.received_at_utc.strftime("%Y-%m-%d %H:%M:%S"),
                s.reason,
            ]
            for s in listed
        ],
    )
    if len(listed) == limit:
        typer.echo(f"more: --after {StudyCursor.of(listed[-1])}")


def show(
    study_uid: str,
    replay: Annotated[
        bool,
        typer.Option(
            "--replay", help="Read its images again and compare every byte; status 1 if one differs."
        ),
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one study: its objects, its results and where they went."""
    from service.book.audit import Action, AuditEvent, Subject, record, user_actor
    from service.clock import now_utc

    book = open_migrated_book(load_settings(config))
    detail = book.study(study_uid)
    if detail is None:
        raise typer.BadParameter("the account book has no such study")
    seen = AuditEvent(Action.VIEW, user_actor(), Subject.STUDY, detail.summary.study_row_id, detail="study")
    record(book.engine, seen, now=now_utc())
    if replay:
        from service.cli.replaying import print_replay

        print_replay(load_settings(config), book, detail, as_json=as_json)
        return
    if as_json:
        print_json(detail)
        return
    summary = detail.summary
    typer.echo(f"{summary.state}  {summary.outcome}  v{summary.draft_version}  {summary.reason}")
    print_table(
        ["object", "modality", "state", "receipts", "reason", "SOP Instance UID"],
        [
            [i.instance_row_id, i.modality, i.state, i.receipt_count, i.reason, i.sop_instance_uid]
            for i in detail.instances
        ],
    )
    print_table(
        ["destination", "result", "version", "state", "attempts", "status", "reason"],
        [
            [d.destination, d.kind, d.draft_version, d.state, d.attempts, d.last_status, d.reason]
            for d in detail.deliveries
        ],
    )
    print_table(
        ["time (UTC)", "destination", "result", "attempt", "ended", "status", "reason"],
        [
            [
                a.ended_at_utc.strftime("%Y-%m-%d %H:%M:%S"),
                d.destination,
                d.kind,
                a.number,
                a.state,
                a.status,
                a.reason or a.reason_code,
            ]
            for d in detail.deliveries
            for a in d.log
        ],
        title="delivery log",
    )
    for reading in detail.draft.readings if detail.draft else ():
        typer.echo(reading.report_text)
    if detail.final_report is not None:
        signed = detail.final_report
        corrected = ", corrected since" if signed.status == "C" else ""
        print_table(
            ["label", "draft and signed report"],
            [[label, verdict] for label, verdict in sorted(signed.verdicts.items())],
            title=f"signed report since {signed.signed_at_utc:%Y-%m-%d %H:%M:%S} UTC{corrected}",
        )


def retry(
    study_uid: Annotated[str | None, typer.Argument(help="One study; all that failed without it.")] = None,
    config: ConfigOption = None,
) -> None:
    """Put failed studies and undelivered results back to work, those whose patient is mapped by now included."""
    from service.book.audit import user_actor
    from service.house import open_house
    from service.io_worker import destinations
    from service.rematching import rematch

    settings = load_settings(config)
    house = open_house(settings)
    count = house.book.retry(study_uid, actor=user_actor()) + rematch(
        house, destinations(settings), study_uid
    )
    typer.echo(f"{count} put back")


def retract(
    study_uid: str,
    reason: Annotated[str, typer.Option(help="For those who read the report; it is sent along.")],
    rejection: Annotated[
        str, typer.Option(help="What archives are told: quality or patient-safety.")
    ] = "quality",
    config: ConfigOption = None,
) -> None:
    """Take a study's results back at every EHR and archive that got them, and stop what has not left yet.

    An archive is told by a rejection (IHE IOCM) where its objects have "ko"; elsewhere a person rejects them.
    """
    from reporting import RejectionReason
    from service.book.audit import user_actor
    from service.house import open_house
    from service.retracting import retract_study

    if rejection not in list(RejectionReason):
        raise typer.BadParameter("quality or patient-safety", param_hint="--rejection")
    places = retract_study(
        open_house(load_settings(config)),
        study_uid,
        reason,
        actor=user_actor(),
        rejection=RejectionReason(rejection),
    )
    nowhere = "no EHR, and no archive that takes rejections, has results of this study"
    typer.echo(f"taken back at {', '.join(places)}" if places else nowhere)


def drop_image(
    study_uid: str,
    image: Annotated[str, typer.Argument(help="SOP Instance UID; `raddraft show` lists them.")],
    reason: Annotated[str, typer.Option(help="Kept beside the image; no patient's name in it.")],
    config: ConfigOption = None,
) -> None:
    """Drop a stray image of a study: it is read again without it, and the new version replaces the older one."""
    from service import dropping
    from service.book.audit import user_actor
    from service.house import open_house

    state = dropping.drop_image(
        open_house(load_settings(config)), study_uid, image, reason, actor=user_actor()
    )
    typer.echo(f"dropped; the study is {state}")


def account(
    deep: Annotated[bool, typer.Option(help="Also compare every file's SHA-256.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Balance the book: receipts, rows, files. Exit status 1 where it does not balance."""
    from dicom_node import PosixSpool

    settings = load_settings(config)
    taken = open_migrated_book(settings).account(PosixSpool(settings.data_dir / "spool"), deep=deep)
    if as_json:
        print_json(taken.as_json())
    else:
        print_table(["state", "objects"], [[state, count] for state, count in taken.states.items()])
        adopted = f", adopted {taken.adopted}" if taken.adopted else ""
        typer.echo(
            f"acknowledged {taken.acknowledged}{adopted}, objects {taken.objects}, balanced {taken.balanced}"
        )
        for problem in taken.problems:
            typer.echo(f"{problem.code}: {problem.count} {problem.what}")
        if any(taken.custody.values()):
            states = ", ".join(f"{state} {count}" for state, count in taken.custody.items() if count)
            typer.echo(f"results in archives that are asked to confirm: {states}")
        _print_stuck(taken.stuck)
    if not taken.balanced:
        raise typer.Exit(1)


def _print_stuck(stuck: Sequence[Stuck]) -> None:
    if stuck:
        print_table(
            ["stands still", "since (UTC)", "state", "destination", "reason", "study"],
            [
                [
                    f"{each.what} {each.row_id}",
                    each.since_utc.strftime("%Y-%m-%d %H:%M:%S"),
                    each.state,
                    each.destination,
                    each.reason_code,
                    each.study_instance_uid,
                ]
                for each in stuck
            ],
        )


def purge(
    dry_run: Annotated[bool, typer.Option(help="Only say what would go.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete the files of ended studies whose time of retention is over; their rows stay and say so."""
    from service.book.audit import user_actor
    from service.clock import now_utc
    from service.house import open_house
    from service.retention import site_retention

    retention = site_retention(open_house(load_settings(config)), user_actor())
    report = retention.preview(now_utc()) if dry_run else retention.purge(now_utc())
    if as_json:
        print_json(report)
        return
    verb = "would be purged" if dry_run else "purged"
    typer.echo(
        f"{verb}: {report.studies} studies, {report.received_files} received files, "
        f"{report.result_files} results, {report.drafts} drafts, {report.size_bytes / 1e6:.1f} MB"
    )
    for kept in report.kept_back:
        typer.echo(f"kept back: {kept.results} results, {_WHY_KEPT[kept.state].format(kept.destination)}")
