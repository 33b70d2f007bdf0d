"""The outbox: one row per artefact and destination, leased, retried and never forgotten."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Engine, exists, func, or_, select
from sqlalchemy.orm import Session, aliased

from clinical import Transient
from service.book.audit import Action, AuditEvent, Subject, note
from service.book.database import reading, writing
from service.book.states import DeliveryState, StudyState, checked_study_change
from service.book.tables import ArtefactRow, DeliveryRow, DraftRow, StudyRow

OPEN_STATES = (DeliveryState.PENDING, DeliveryState.SENDING, DeliveryState.UNMATCHED)


@dataclass(frozen=True, slots=True)
class DeliveryLease:
    """The right to send one artefact to one destination."""

    delivery_id: int
    destination: str
    kind: str
    fence: int
    attempt: int
    created_at_utc: datetime
    study_id: int
    study_instance_uid: str
    draft_version: int
    spool_key: str
    file_sha256: str
    file_name: str
    sop_instance_uid: str
    chosen_patient: str


def due_deliveries(engine: Engine, now: datetime, hint_age_s: float, limit: int = 500) -> list[int]:
    """Deliveries that are due and have no live message, and those whose lease ran out; marked as hinted."""
    stale = now - timedelta(seconds=hint_age_s)
    unhinted = or_(DeliveryRow.enqueued_at_utc.is_(None), DeliveryRow.enqueued_at_utc <= stale)
    due = (DeliveryRow.state == DeliveryState.PENDING) & (DeliveryRow.due_at_utc <= now)
    expired = (DeliveryRow.state == DeliveryState.SENDING) & (DeliveryRow.lease_until_utc <= now)
    wanted = (due | expired) & unhinted & ~_others_first()
    with reading(engine) as session:
        ids = list(
            session.scalars(select(DeliveryRow.id).where(wanted).order_by(DeliveryRow.id).limit(limit))
        )
    if not ids:
        return []
    with writing(engine) as session:
        rows = session.scalars(select(DeliveryRow).where(DeliveryRow.id.in_(ids), wanted)).all()
        for row in rows:
            row.enqueued_at_utc = now
        return [row.id for row in rows]


def lease_delivery(
    engine: Engine, delivery_id: int, *, owner: str, lease_s: float, now: datetime
) -> DeliveryLease | None:
    """Lease one delivery; None if it is not there to be had. The attempt is counted here."""
    with writing(engine) as session:
        row = session.get(DeliveryRow, delivery_id, with_for_update=True)
        if row is None or not _free(row, now):
            return None
        if row.lane and session.scalar(
            select(DeliveryRow.id).where(DeliveryRow.id == row.id, _others_first())
        ):
            return None
        artefact = session.get(ArtefactRow, row.artefact_id) if row.artefact_id else None
        study = session.get(StudyRow, row.study_id)
        draft = session.get(DraftRow, row.draft_id)
        if artefact is None or study is None or draft is None:
            return None
        row.state, row.lease_owner = DeliveryState.SENDING, owner
        row.lease_until_utc = now + timedelta(seconds=lease_s)
        row.fence += 1
        row.attempts += 1
        return DeliveryLease(
            row.id,
            row.destination,
            row.kind,
            row.fence,
            row.attempts,
            row.created_at_utc,
            study.id,
            study.study_instance_uid,
            draft.version,
            artefact.spool_key,
            artefact.file_sha256,
            artefact.file_name,
            artefact.sop_instance_uid,
            _chosen_patient(session, row),
        )


def _chosen_patient(session: Session, row: DeliveryRow) -> str:
    """Whom a person has named for this study at this destination, the last time one did."""
    chosen = session.scalar(
        select(DeliveryRow.chosen_patient)
        .where(DeliveryRow.study_id == row.study_id, DeliveryRow.destination == row.destination)
        .where(DeliveryRow.chosen_patient != "")
        .order_by(DeliveryRow.id.desc())
        .limit(1)
    )
    return chosen or ""


def _others_first() -> ColumnElement[bool]:
    """Whether an earlier delivery of the same lane has not ended yet."""
    earlier = aliased(DeliveryRow)
    waiting = earlier.state.in_([DeliveryState.PENDING, DeliveryState.SENDING])
    same_lane = (earlier.lane == DeliveryRow.lane) & (DeliveryRow.lane != "")
    return exists().where(same_lane, earlier.id < DeliveryRow.id, waiting)


def _free(row: DeliveryRow, now: datetime) -> bool:
    if row.state == DeliveryState.PENDING:
        return row.due_at_utc is None or row.due_at_utc <= now
    return (
        row.state == DeliveryState.SENDING and row.lease_until_utc is not None and row.lease_until_utc <= now
    )


def end_delivery(
    engine: Engine,
    lease: DeliveryLease,
    state: DeliveryState,
    *,
    status: str,
    now: datetime,
    code: str = "",
    reason: str = "",
    due_at_utc: datetime | None = None,
) -> None:
    """Record how an attempt ended; the study is done when its last delivery is.

    Raises
    ------
    Transient
        ``stale-lease`` if the delivery was leased again since.
    """
    with writing(engine) as session:
        row = session.get(DeliveryRow, lease.delivery_id, with_for_update=True)
        if row is None or row.fence != lease.fence or row.state != DeliveryState.SENDING:
            raise Transient(
                "stale-lease", "another worker has taken this delivery over; this outcome is dropped"
            )
        note(
            session,
            AuditEvent(
                Action.DELIVER,
                f"role:{row.lease_owner}",
                Subject.DELIVERY,
                row.id,
                outcome="ok" if state is DeliveryState.DELIVERED else code or state.value,
                detail=f"{row.kind} to {row.destination} {status}".rstrip(),
            ),
            now,
        )
        row.state, row.last_status, row.reason_code, row.reason = state, status, code, reason[:255]
        row.lease_owner, row.lease_until_utc, row.enqueued_at_utc = "", None, None
        row.due_at_utc = due_at_utc
        row.delivered_at_utc = now if state is DeliveryState.DELIVERED else None
        session.flush()
        close_study(session, row.study_id, now)


def close_study(session: Session, study_id: int, now: datetime) -> None:
    """End a study whose last delivery has ended."""
    study = session.get(StudyRow, study_id, with_for_update=True)
    if study is None or study.state != StudyState.DELIVERING:
        return
    # An unmatched delivery is held for a person: the study is not done while one is.
    left = session.scalar(
        select(func.count())
        .select_from(DeliveryRow)
        .where(DeliveryRow.study_id == study_id, DeliveryRow.state.in_(OPEN_STATES))
    )
    if not left:
        ended = StudyState.FAILED if study.outcome == "failed" else StudyState.DONE
        study.state = checked_study_change(StudyState.DELIVERING, ended)
        study.updated_at_utc = now


def resend(engine: Engine, study_instance_uid: str | None, *, now: datetime) -> int:
    """Put deliveries that ended without success back into the outbox; return how many."""
    stuck = [DeliveryState.UNMATCHED, DeliveryState.REFUSED, DeliveryState.GAVE_UP]
    with writing(engine) as session:
        query = select(DeliveryRow).join(StudyRow, StudyRow.id == DeliveryRow.study_id)
        # Without an artefact there is nothing to send: such a row is held until the patient can be named.
        query = query.where(DeliveryRow.state.in_(stuck), DeliveryRow.artefact_id.is_not(None))
        # What a newer version of the Draft has replaced would arrive after it.
        newer = aliased(DeliveryRow)
        same = (newer.study_id == DeliveryRow.study_id) & (newer.destination == DeliveryRow.destination)
        query = query.where(
            ~exists().where(same, newer.kind == DeliveryRow.kind, newer.draft_id > DeliveryRow.draft_id)
        )
        if study_instance_uid is not None:
            query = query.where(StudyRow.study_instance_uid == study_instance_uid)
        rows = session.scalars(query).all()
        for row in rows:
            row.state, row.attempts, row.due_at_utc, row.enqueued_at_utc = DeliveryState.PENDING, 0, now, None
            row.created_at_utc = now
            study = session.get(StudyRow, row.study_id)
            if study is not None and study.state in (StudyState.DONE, StudyState.FAILED):
                study.state = checked_study_change(StudyState(study.state), StudyState.DELIVERING)
        return len(rows)
