"""What stands still: studies and results that have not moved for long, and what waits for a person."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.book.states import STUDY_ENDS, CustodyState, DeliveryState, StudyState
from service.book.tables import CustodyRow, DeliveryRow, StudyRow

_EXAMPLES = 20
_UNFINISHED = [state for state in StudyState if state not in STUDY_ENDS]
# Nobody but a person moves these on.
_NEEDS_SOMEBODY = (
    DeliveryState.UNMATCHED,
    DeliveryState.HELD,
    DeliveryState.REFUSED,
    DeliveryState.GAVE_UP,
)


@dataclass(frozen=True, slots=True)
class Stuck:
    """One study or result that stands still.

    Attributes
    ----------
    what
        ``"study"`` or ``"delivery"``, whose row is `row_id`; a delivery in state ``"lost"`` was taken by its archive,
        which does not have it, again and again.
    since_utc
        Of a study its last movement, of a delivery when it was put into the outbox.
    """

    what: str
    row_id: int
    study_instance_uid: str
    state: str
    since_utc: datetime
    reason_code: str
    destination: str = ""


def stuck_rows(session: Session, before: datetime | None) -> tuple[Stuck, ...]:
    """The longest waiting of each state, longest first: found by index, however large the book."""
    found: list[Stuck] = []
    if before is not None:
        for state in _UNFINISHED:
            found += _studies(session, state, before)
        for delivering in (DeliveryState.PENDING, DeliveryState.SENDING):
            found += _deliveries(session, delivering, before)
    for waiting in _NEEDS_SOMEBODY:
        found += _deliveries(session, waiting, None)
    found += _lost(session)
    return tuple(sorted(found, key=lambda stuck: stuck.since_utc))


def _lost(session: Session) -> list[Stuck]:
    query = (
        select(DeliveryRow, StudyRow.study_instance_uid)
        .join(CustodyRow, CustodyRow.delivery_id == DeliveryRow.id)
        .join(StudyRow, StudyRow.id == DeliveryRow.study_id)
        .where(CustodyRow.state == CustodyState.LOST, DeliveryRow.state == DeliveryState.DELIVERED)
        .order_by(CustodyRow.delivery_id)
        .limit(_EXAMPLES)
    )
    return [
        Stuck(
            "delivery", row.id, uid, CustodyState.LOST, row.created_at_utc, "not-in-archive", row.destination
        )
        for row, uid in session.execute(query)
    ]


def _studies(session: Session, state: StudyState, before: datetime) -> list[Stuck]:
    rows = session.scalars(
        select(StudyRow)
        .where(StudyRow.state == state, StudyRow.updated_at_utc < before)
        .order_by(StudyRow.updated_at_utc)
        .limit(_EXAMPLES)
    )
    return [
        Stuck("study", row.id, row.study_instance_uid, row.state, row.updated_at_utc, row.reason_code)
        for row in rows
    ]


def _deliveries(session: Session, state: DeliveryState, before: datetime | None) -> list[Stuck]:
    query = (
        select(DeliveryRow, StudyRow.study_instance_uid)
        .join(StudyRow, StudyRow.id == DeliveryRow.study_id)
        .where(DeliveryRow.state == state)
        .order_by(DeliveryRow.created_at_utc)
        .limit(_EXAMPLES)
    )
    if before is not None:
        query = query.where(DeliveryRow.created_at_utc < before)
    return [
        Stuck("delivery", row.id, uid, row.state, row.created_at_utc, row.reason_code, row.destination)
        for row, uid in session.execute(query)
    ]
