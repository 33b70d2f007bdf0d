"""`reconcile`: reports that wait because it is not certain whom they are about."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from service.cli.common import ConfigOption, JsonOption, open_migrated_book, print_json, print_table
from service.settings import load_settings

app = typer.Typer(no_args_is_help=True)
_PATIENT = re.compile(r"(?:Patient/)?([A-Za-z0-9.-]{1,64})")

Delivery = Annotated[
    int, typer.Argument(min=1, help="Number of the delivery, from `raddraft reconcile list`.")
]


@app.command("list")
def list_items(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List what waits, the oldest first."""
    from hl7_fhir import WAITING_CODES
    from service.book.reconciling import reconcile_queue

    items = reconcile_queue(open_migrated_book(load_settings(config)).engine, WAITING_CODES)
    if as_json:
        print_json(items)
        return
    print_table(
        ["delivery", "study", "destination", "state", "since (UTC)", "attempts", "reason"],
        [
            [
                item.delivery_row_id,
                item.study_instance_uid,
                item.destination,
                item.state,
                item.since_utc.strftime("%Y-%m-%d %H:%M:%S"),
                item.attempts,
                item.reason,
            ]
            for item in items
        ],
    )


@app.command()
def retry(delivery: Delivery, config: ConfigOption = None) -> None:
    """Look for the patient once more, or make a delivered result anew whose patient was merged."""
    from service.book.audit import user_actor
    from service.book.reconciling import try_again
    from service.clock import now_utc

    try_again(open_migrated_book(load_settings(config)).engine, delivery, actor=user_actor(), now=now_utc())
    typer.echo("sent anew or looked for again")


@app.command()
def choose(
    delivery: Delivery,
    patient: Annotated[str, typer.Argument(help="The EHR's own id of the patient, as Patient/ID.")],
    config: ConfigOption = None,
) -> None:
    """Send it with this patient, and every later version of the study too. Nothing is compared any more."""
    from service.book.audit import user_actor
    from service.book.reconciling import choose_patient
    from service.clock import now_utc

    named = _PATIENT.fullmatch(patient)
    if named is None:
        raise typer.BadParameter("a patient is named as Patient/ID")
    engine = open_migrated_book(load_settings(config)).engine
    choose_patient(engine, delivery, f"Patient/{named.group(1)}", actor=user_actor(), now=now_utc())
    typer.echo("sent with the patient you chose")


@app.command()
def drop(delivery: Delivery, config: ConfigOption = None) -> None:
    """Never send it; of a delivered result, say that it stands with the right patient."""
    from service.book.audit import user_actor
    from service.book.reconciling import drop as drop_delivery
    from service.clock import now_utc

    drop_delivery(
        open_migrated_book(load_settings(config)).engine, delivery, actor=user_actor(), now=now_utc()
    )
    typer.echo("it is not sent again")
