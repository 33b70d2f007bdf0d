"""Deliveries that wait because it is not certain whom they are about: listed, and decided by a person."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Engine, or_, select
from sqlalchemy.orm import Session

from clinical import Permanent
from service.book.audit import Action, AuditEvent, Subject, note
from service.book.database import reading, writing
from service.book.merges import MERGED_CODE, tell_anew
from service.book.outbox import close_study
from service.book.states import DeliveryState, StudyState, checked_study_change
from service.book.study_holds import hold_new
from service.book.tables import DeliveryRow, DraftRow, StudyRow

_OPEN = (DeliveryState.UNMATCHED, DeliveryState.PENDING, DeliveryState.GAVE_UP)


@dataclass(frozen=True, slots=True)
class ReconcileItem:
    """One delivery to be reconciled.

    Attributes
    ----------
    state
        ``unmatched`` waits for a person; ``pending`` is still looked for, ``gave_up`` no longer is; ``delivered`` left
        before its patient became another's.
    built
        Whether the report is built; one of an unmapped identifier is built once the settings name it.
    """

    delivery_row_id: int
    study_instance_uid: str
    destination: str
    kind: str
    draft_version: int
    state: str
    code: str
    reason: str
    attempts: int
    since_utc: datetime
    built: bool


def reconcile_queue(engine: Engine, waiting_codes: Collection[str]) -> list[ReconcileItem]:
    """Everything that waits for its patient, the oldest first.

    Parameters
    ----------
    waiting_codes
        Codes of deliveries that are tried again by themselves and belong here all the same.
    """
    waits = DeliveryRow.reason_code.in_(list(waiting_codes)) & DeliveryRow.state.in_(_OPEN)
    query = (
        select(DeliveryRow, StudyRow.study_instance_uid, DraftRow.version)
        .join(StudyRow, StudyRow.id == DeliveryRow.study_id)
        .join(DraftRow, DraftRow.id == DeliveryRow.draft_id)
        .where(or_(DeliveryRow.state == DeliveryState.UNMATCHED, waits, _merged_since()))
        .order_by(DeliveryRow.id)
    )
    with reading(engine) as session:
        return [
            ReconcileItem(
                row.id,
                study_uid,
                row.destination,
                row.kind,
                version,
                row.state,
                row.reason_code,
                row.reason,
                row.attempts,
                row.created_at_utc,
                row.artefact_id is not None,
            )
            for row, study_uid, version in session.execute(query)
        ]


def choose_patient(engine: Engine, delivery_id: int, reference: str, *, actor: str, now: datetime) -> None:
    """Send a held report with the patient a person has chosen, this version and every later one.

    Raises
    ------
    Permanent
        ``no-such-delivery``, ``not-held`` or ``not-built``.
    """
    with writing(engine) as session:
        row = _held(session, delivery_id)
        if row.kind != "fhir":
            raise Permanent("not-held", "a patient can be chosen for reports to FHIR servers only")
        row.chosen_patient = reference
        _send_again(session, row, now)
        note(session, AuditEvent(Action.RECONCILE, actor, Subject.DELIVERY, row.id, detail="choose"), now)


def try_again(engine: Engine, delivery_id: int, *, actor: str, now: datetime) -> None:
    """Look for the patient of a held report once more, or make a flagged result anew.

    Raises as `choose_patient` does.
    """
    with writing(engine) as session:
        row = _row(session, delivery_id)
        if _is_flagged(row):
            tell_anew(session, row, now)
        else:
            _send_again(session, _held(session, delivery_id), now)
        note(session, AuditEvent(Action.RECONCILE, actor, Subject.DELIVERY, row.id, detail="retry"), now)


def drop(engine: Engine, delivery_id: int, *, actor: str, now: datetime) -> None:
    """Never send a held report, or let a flagged result stand as it is; raises as `choose_patient` does."""
    with writing(engine) as session:
        row = _row(session, delivery_id)
        if _is_flagged(row):
            row.reason_code, row.reason = "", "a person has seen that it stands with the right patient"
        else:
            row = _held(session, delivery_id, built=False)
            row.state, row.reason_code, row.reason = (
                DeliveryState.REFUSED,
                "dropped",
                "a person decided not to send it",
            )
            row.due_at_utc = None
        note(session, AuditEvent(Action.RECONCILE, actor, Subject.DELIVERY, row.id, detail="drop"), now)
        session.flush()
        close_study(session, row.study_id, now)


def _merged_since() -> ColumnElement[bool]:
    return (DeliveryRow.state == DeliveryState.DELIVERED) & (DeliveryRow.reason_code == MERGED_CODE)


def _is_flagged(row: DeliveryRow) -> bool:
    return row.state == DeliveryState.DELIVERED and row.reason_code == MERGED_CODE


def _row(session: Session, delivery_id: int) -> DeliveryRow:
    row = session.get(DeliveryRow, delivery_id, with_for_update=True)
    if row is None:
        raise Permanent("no-such-delivery", "there is no delivery of this number; see `raddraft reconcile`")
    return row


def _held(session: Session, delivery_id: int, *, built: bool = True) -> DeliveryRow:
    row = _row(session, delivery_id)
    if row.state not in _OPEN:
        raise Permanent("not-held", "this delivery does not wait for a person's word on its patient")
    if built and row.artefact_id is None:
        raise Permanent("not-built", "map the patient's identifier in the settings, then `raddraft retry`")
    return row


def _send_again(session: Session, row: DeliveryRow, now: datetime) -> None:
    row.state, row.due_at_utc, row.enqueued_at_utc = DeliveryState.PENDING, now, None
    row.attempts, row.created_at_utc = 0, now
    study = session.get_one(StudyRow, row.study_id, with_for_update=True)
    # A person's word on the patient is no operator's word that the study may leave.
    hold_new(study, [row])
    if study.state in (StudyState.DONE, StudyState.FAILED):
        study.state = checked_study_change(StudyState(study.state), StudyState.DELIVERING)
