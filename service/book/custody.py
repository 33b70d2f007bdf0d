"""Whether an archive keeps what it took from us: asked of each delivery, and settled before its bytes may go."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from service.book.audit import Action, AuditEvent, Subject, note
from service.book.database import reading, writing
from service.book.outbox import put_back
from service.book.states import CustodyState
from service.book.tables import ArtefactRow, CustodyRow, DeliveryRow, StudyRow

_TRIES_MAX = 3


SETTLED = (CustodyState.COMMITTED, CustodyState.READ_BACK, CustodyState.NOT_TO_BE_KNOWN)


@dataclass(frozen=True, slots=True)
class DueCustody:
    """One delivered object to ask about."""

    delivery_id: int
    destination: str
    study_instance_uid: str
    sop_instance_uid: str
    spool_key: str


def due_custody(engine: Engine, *, now: datetime, wait_s: float, limit: int = 100) -> list[DueCustody]:
    """Deliveries to ask about now; each is due again after `wait_s` unless it is settled before."""
    due = CustodyRow.due_at_utc <= now
    with reading(engine) as session:
        if session.scalar(select(CustodyRow.delivery_id).where(due).limit(1)) is None:
            return []
    with writing(engine) as session:
        query = (
            select(CustodyRow, DeliveryRow, ArtefactRow, StudyRow)
            .join(DeliveryRow, DeliveryRow.id == CustodyRow.delivery_id)
            .join(ArtefactRow, ArtefactRow.id == DeliveryRow.artefact_id)
            .join(StudyRow, StudyRow.id == DeliveryRow.study_id)
            .where(due)
            .order_by(CustodyRow.delivery_id)
            .limit(limit)
        )
        taken = []
        for row, delivery, artefact, study in session.execute(query).all():
            row.due_at_utc = now + timedelta(seconds=wait_s)
            taken.append(
                DueCustody(
                    delivery.id,
                    delivery.destination,
                    study.study_instance_uid,
                    artefact.sop_instance_uid,
                    artefact.spool_key,
                )
            )
        return taken


def note_asked(engine: Engine, delivery_ids: Collection[int], transaction_uid: str) -> None:
    """The archive has been asked in this transaction."""
    with writing(engine) as session:
        for row in session.scalars(select(CustodyRow).where(CustodyRow.delivery_id.in_(delivery_ids))):
            row.state, row.transaction_uid = CustodyState.ASKED, transaction_uid
            row.attempts += 1


def settle(
    engine: Engine, delivery_ids: Collection[int], state: CustodyState, *, destination: str, now: datetime
) -> None:
    """The question is answered well, or cannot be."""
    with writing(engine) as session:
        for row in session.scalars(select(CustodyRow).where(CustodyRow.delivery_id.in_(delivery_ids))):
            row.state, row.due_at_utc = state, None
            _note(session, row.delivery_id, destination, state.value, now)


def note_lost(engine: Engine, delivery_ids: Collection[int], *, destination: str, now: datetime) -> int:
    """The archive does not hold what it took: it is sent again, a few times at most; how many are."""
    again = 0
    with writing(engine) as session:
        for row in session.scalars(select(CustodyRow).where(CustodyRow.delivery_id.in_(delivery_ids))):
            row.losses += 1
            row.state, row.due_at_utc = CustodyState.LOST, None
            _note(session, row.delivery_id, destination, CustodyState.LOST.value, now)
            if row.losses <= _TRIES_MAX:
                again += put_back(session, select(DeliveryRow).where(DeliveryRow.id == row.delivery_id), now)
    return again


def answered(
    engine: Engine, transaction_uid: str, committed: Collection[str], failed: Collection[str]
) -> tuple[list[int], list[int]]:
    """Deliveries of a transaction whose objects (SOP Instance UIDs) the archive committed to, and those it did not."""
    query = (
        select(CustodyRow.delivery_id, ArtefactRow.sop_instance_uid)
        .join(DeliveryRow, DeliveryRow.id == CustodyRow.delivery_id)
        .join(ArtefactRow, ArtefactRow.id == DeliveryRow.artefact_id)
        .where(CustodyRow.transaction_uid == transaction_uid, CustodyRow.state == CustodyState.ASKED)
    )
    with reading(engine) as session:
        rows = session.execute(query).all()
    return [row[0] for row in rows if row[1] in committed], [row[0] for row in rows if row[1] in failed]


def unsettled(engine: Engine) -> dict[str, int]:
    """How many delivered objects are not known to be kept, by state."""
    with reading(engine) as session:
        found: dict[str, int] = {}
        for (state,) in session.execute(select(CustodyRow.state).where(CustodyRow.state.not_in(SETTLED))):
            found[state] = found.get(state, 0) + 1
        return found


def _note(session: Session, delivery_id: int, destination: str, outcome: str, now: datetime) -> None:
    event = AuditEvent(
        Action.COMMIT, f"destination:{destination}", Subject.DELIVERY, delivery_id, outcome=outcome
    )
    note(session, event, now)
