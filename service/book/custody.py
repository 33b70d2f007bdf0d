"""Whether an archive keeps what it took from us: asked of each delivery, and settled before its bytes may go."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine, Select, exists, func, or_, select
from sqlalchemy.orm import Session, aliased

from service.book.audit import Action, AuditEvent, Subject, note
from service.book.database import reading, writing
from service.book.sending_again import put_back
from service.book.states import CUSTODY_ENDS, REJECTION_KIND, CustodyState
from service.book.tables import ArtefactRow, CustodyRow, DeliveryRow, StudyRow

# What an archive loses is sent again after pauses that double up to the longest: some eleven hours in all.
_AGAIN_MAX = 20
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 5.0, 3600.0


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
    """The archive does not hold what it took: it is sent again after a pause; how many are.

    The pauses grow, and after many losses a person is needed: then the row stays ``lost``.

    What was withdrawn there meanwhile is not sent again: an archive may drop what a rejection names.
    """
    again = 0
    with writing(engine) as session:
        withdrawn = set(session.scalars(_withdrawn(delivery_ids)))
        for row in session.scalars(select(CustodyRow).where(CustodyRow.delivery_id.in_(delivery_ids))):
            if row.delivery_id in withdrawn:
                row.state, row.due_at_utc = CustodyState.WITHDRAWN, None
                _note(session, row.delivery_id, destination, CustodyState.WITHDRAWN.value, now)
                continue
            row.losses += 1
            row.state, row.due_at_utc = CustodyState.LOST, None
            _note(session, row.delivery_id, destination, CustodyState.LOST.value, now)
            if row.losses <= _AGAIN_MAX:
                pause_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** (row.losses - 1))
                this = select(DeliveryRow).where(DeliveryRow.id == row.delivery_id)
                again += put_back(session, this, now, pause_s)
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
    query = select(CustodyRow.state, func.count()).where(CustodyRow.state.not_in(CUSTODY_ENDS))
    with reading(engine) as session:
        return {row[0]: row[1] for row in session.execute(query.group_by(CustodyRow.state))}


def _withdrawn(delivery_ids: Collection[int]) -> Select[int]:
    """Those of these deliveries that a rejection, or a newer version of the same result, has followed."""
    later = aliased(DeliveryRow)
    same_place = (later.study_id == DeliveryRow.study_id) & (later.destination == DeliveryRow.destination)
    rejected = (later.draft_id == DeliveryRow.draft_id) & (later.kind == REJECTION_KIND)
    replaced = (later.draft_id > DeliveryRow.draft_id) & (later.kind == DeliveryRow.kind)
    return select(DeliveryRow.id).where(
        DeliveryRow.id.in_(delivery_ids),
        DeliveryRow.kind != REJECTION_KIND,
        exists().where(same_place, or_(rejected, replaced)),
    )


def _note(session: Session, delivery_id: int, destination: str, outcome: str, now: datetime) -> None:
    event = AuditEvent(
        Action.COMMIT, f"destination:{destination}", Subject.DELIVERY, delivery_id, outcome=outcome
    )
    note(session, event, now)
