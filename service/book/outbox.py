"""The outbox: one row per artefact and destination, leased, retried and never forgotten."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Engine, exists, func, or_, select
from sqlalchemy.orm import Session, aliased

from clinical import Transient
from service.book.audit import Action, AuditEvent, Subject, note
from service.book.circuits import CircuitRule, admit, note_failure, note_success, on_trial, shut
from service.book.database import reading, writing
from service.book.hinting import mark_hinted
from service.book.states import (
    DELIVERY_OPEN,
    KEPT_AFTER_SIGNATURE,
    TAKES_BACK,
    CustodyState,
    DeliveryState,
    StudyState,
    checked_delivery_change,
    checked_study_change,
)
from service.book.study_holds import hold_new
from service.book.tables import ArtefactRow, CustodyRow, DeliveryAttemptRow, DeliveryRow, DraftRow, StudyRow

# Why a draft's delivery ends once a person has signed: code and words.
SIGNED = ("report-signed", "a signed report exists: a draft is not sent any more")
# The same of a version that another replaces, and of one that was taken back.
NEWER_DRAFT = ("newer-draft", "a newer version of the Draft exists")
RETRACTED = ("retracted", "the result was taken back")
# Code of a report that went another way, because the server offers none to write it.
FELL_BACK = "fell-back"


@dataclass(frozen=True, slots=True)
class DeliveryLease:
    """The right to send one artefact to one destination."""

    delivery_id: int
    destination: str
    kind: str
    fence: int
    attempt: int
    created_at_utc: datetime
    started_at_utc: datetime
    study_id: int
    study_instance_uid: str
    draft_id: int
    draft_version: int
    spool_key: str
    file_sha256: str
    file_name: str
    sop_instance_uid: str
    chosen_patient: str


def due_deliveries(engine: Engine, now: datetime, hint_age_s: float, limit: int = 500) -> list[int]:
    """Deliveries that are due and have no live message, and those whose lease ran out; marked as hinted.

    Destinations that are held or left alone are passed over; of one on trial a single delivery is named. Every other
    destination gets its share of `limit`, however much waits for one of them.
    """
    stale = now - timedelta(seconds=hint_age_s)
    unhinted = or_(DeliveryRow.enqueued_at_utc.is_(None), DeliveryRow.enqueued_at_utc <= stale)
    due = (DeliveryRow.state == DeliveryState.PENDING) & (DeliveryRow.due_at_utc <= now)
    expired = (DeliveryRow.state == DeliveryState.SENDING) & (DeliveryRow.lease_until_utc <= now)
    wanted = (due | expired) & unhinted & ~_others_first()
    with reading(engine) as session:
        away, trial = shut(session, now), on_trial(session, now)
        names = session.scalars(
            select(DeliveryRow.destination).where(wanted, DeliveryRow.destination.not_in(away)).distinct()
        ).all()
        ids = [
            row_id
            for name in names
            for row_id in _oldest_due(session, wanted, name, 1 if name in trial else limit)
        ]
    return mark_hinted(engine, DeliveryRow, ids, wanted, now)


def _oldest_due(session: Session, wanted: ColumnElement[bool], destination: str, limit: int) -> list[int]:
    """The most urgent studies' deliveries first, of those the oldest."""
    query = (
        select(DeliveryRow.id)
        .join(StudyRow, StudyRow.id == DeliveryRow.study_id)
        .where(wanted, DeliveryRow.destination == destination)
        .order_by(StudyRow.priority.desc(), DeliveryRow.due_at_utc, DeliveryRow.id)
    )
    return list(session.scalars(query.limit(limit)))


def next_urgent_delivery(engine: Engine, delivery_id: int, now: datetime) -> int | None:
    """A delivery to the same destination that must go before this one, its study being more urgent."""
    with reading(engine) as session:
        row = session.get(DeliveryRow, delivery_id)
        if row is None or row.destination in {*shut(session, now), *on_trial(session, now)}:
            return None
        priority = session.scalar(select(StudyRow.priority).where(StudyRow.id == row.study_id)) or 0
        due = or_(DeliveryRow.due_at_utc.is_(None), DeliveryRow.due_at_utc <= now)
        query = (
            select(DeliveryRow.id)
            .join(StudyRow, StudyRow.id == DeliveryRow.study_id)
            .where(
                DeliveryRow.destination == row.destination,
                DeliveryRow.state == DeliveryState.PENDING,
                StudyRow.priority > priority,
                due,
                ~_others_first(),
            )
            .order_by(StudyRow.priority.desc(), DeliveryRow.id)
            .limit(1)
        )
        return session.scalars(query).first()


def deliveries_of(engine: Engine, draft_id: int, destination: str) -> list[DeliveryRow]:
    """What of a Draft goes, or went, to one destination, in the order it was told."""
    query = select(DeliveryRow).where(
        DeliveryRow.draft_id == draft_id, DeliveryRow.destination == destination
    )
    with reading(engine) as session:
        rows = list(session.scalars(query.order_by(DeliveryRow.id)))
        session.expunge_all()
        return rows


def destination_of(engine: Engine, delivery_id: int) -> str | None:
    """Where a delivery goes; None if there is none with this number."""
    with reading(engine) as session:
        return session.scalar(select(DeliveryRow.destination).where(DeliveryRow.id == delivery_id))


def lease_delivery(
    engine: Engine, delivery_id: int, *, owner: str, lease_s: float, now: datetime
) -> DeliveryLease | None:
    """Lease one delivery; None if it is not there to be had, or its destination is held or left alone.

    The attempt is counted here.
    """
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
        if (why := _too_late(session, row, study, draft)) is not None:
            _withdraw(session, row, why, now)
            return None
        if not admit(session, row.destination, trial_s=lease_s, now=now):
            row.enqueued_at_utc = None
            return None
        row.state = checked_delivery_change(DeliveryState(row.state), DeliveryState.SENDING)
        row.lease_owner = owner
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
            now,
            study.id,
            study.study_instance_uid,
            draft.id,
            draft.version,
            artefact.spool_key,
            artefact.file_sha256,
            artefact.file_name,
            artefact.sop_instance_uid,
            _chosen_patient(session, row),
        )


def _too_late(session: Session, row: DeliveryRow, study: StudyRow, draft: DraftRow) -> tuple[str, str] | None:
    """Why a result must not leave any more, code and words: one whose attempt was under way is not superseded then."""
    if study.signed_at_utc is not None and row.kind not in KEPT_AFTER_SIGNATURE:
        return SIGNED
    if row.kind in TAKES_BACK:
        return None
    if draft.version <= study.retracted_version:
        return RETRACTED
    newer = (
        select(DeliveryRow.id)
        .join(DraftRow, DraftRow.id == DeliveryRow.draft_id)
        .where(DeliveryRow.study_id == study.id, DeliveryRow.destination == row.destination)
        .where(DeliveryRow.kind.not_in(TAKES_BACK), DraftRow.version > draft.version)
    )
    return NEWER_DRAFT if session.scalar(newer.limit(1)) is not None else None


def withdraw_new(study: StudyRow, deliveries: Iterable[DeliveryRow]) -> None:
    """End those of a study's new deliveries that come after its signed report."""
    if study.signed_at_utc is None:
        return
    for row in deliveries:
        if row.kind not in KEPT_AFTER_SIGNATURE:
            row.state, row.due_at_utc, row.enqueued_at_utc = DeliveryState.SUPERSEDED, None, None
            row.reason_code, row.reason = SIGNED


def _withdraw(session: Session, row: DeliveryRow, why: tuple[str, str], now: datetime) -> None:
    """End a draft's delivery that comes too late, however it came back into the outbox."""
    row.state = checked_delivery_change(DeliveryState(row.state), DeliveryState.SUPERSEDED)
    row.reason_code, row.reason = why
    row.lease_owner, row.lease_until_utc, row.enqueued_at_utc, row.due_at_utc = "", None, None, None
    session.flush()
    close_study(session, row.study_id, now)


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
    circuit: CircuitRule | None = None,
    artefact_id: int | None = None,
    confirm: bool = False,
    successor: DeliveryRow | None = None,
) -> None:
    """Record how an attempt ended; the study is done when its last delivery is.

    Parameters
    ----------
    circuit
        Given where the failure is the destination's own, not this result's: it then counts for its circuit breaker.
    artefact_id
        What was sent, where it was not the row's own artefact: the report in another SOP class.
    confirm
        Whether the archive that took it is to be asked whether it keeps it (see `service.book.custody`).
    successor
        The delivery that takes its place, written down with its end: nothing is lost between the two, and what is there
        already is not written twice.

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
        session.add(
            DeliveryAttemptRow(
                delivery_id=row.id,
                number=lease.attempt,
                started_at_utc=lease.started_at_utc,
                ended_at_utc=now,
                state=state,
                status=status,
                reason_code=code,
                reason=reason[:255],
            )
        )
        # A dry run takes nothing back: what was there before it is there still.
        kept = row.delivered_at_utc if state is DeliveryState.WOULD_SEND else None
        ended = DeliveryState.DELIVERED if kept is not None else state
        row.state = checked_delivery_change(DeliveryState(row.state), ended)
        row.last_status, row.reason_code, row.reason = status, code, reason[:255]
        row.lease_owner, row.lease_until_utc, row.enqueued_at_utc = "", None, None
        row.due_at_utc = due_at_utc
        row.artefact_id = artefact_id or row.artefact_id
        row.delivered_at_utc = now if state is DeliveryState.DELIVERED else kept
        if confirm and state is DeliveryState.DELIVERED:
            # The question is due, and anew after a second delivery.
            session.merge(CustodyRow(delivery_id=row.id, state=CustodyState.DUE, due_at_utc=now))
        if successor is not None:
            _add_successor(session, successor)
        session.flush()
        if circuit is not None:
            note_failure(session, row.destination, code, circuit, now)
        elif state in (DeliveryState.DELIVERED, DeliveryState.REFUSED, DeliveryState.SUPERSEDED):
            # A refusal is an answer too: the destination is there.
            note_success(session, row.destination, now)
        close_study(session, row.study_id, now)


def _add_successor(session: Session, row: DeliveryRow) -> None:
    """Put it into the outbox, unless it is there, or its Draft is not the one that stands."""
    study = session.get_one(StudyRow, row.study_id, with_for_update=True)
    version = session.get_one(DraftRow, row.draft_id).version
    same = select(DeliveryRow.id).where(
        DeliveryRow.draft_id == row.draft_id,
        DeliveryRow.destination == row.destination,
        DeliveryRow.kind == row.kind,
    )
    stands = study.retracted_version < version >= study.draft_version
    if not stands or session.scalar(same.limit(1)) is not None:
        return
    hold_new(study, [row])
    withdraw_new(study, [row])
    session.add(row)


def close_study(session: Session, study_id: int, now: datetime) -> None:
    """End a study whose last delivery has ended."""
    study = session.get(StudyRow, study_id, with_for_update=True)
    if study is None or study.state != StudyState.DELIVERING:
        return
    # An unmatched delivery is held for a person: the study is not done while one is.
    left = session.scalar(
        select(func.count())
        .select_from(DeliveryRow)
        .where(DeliveryRow.study_id == study_id, DeliveryRow.state.in_(DELIVERY_OPEN))
    )
    if not left:
        ended = StudyState.FAILED if study.outcome == "failed" else StudyState.DONE
        study.state = checked_study_change(StudyState.DELIVERING, ended)
        study.updated_at_utc = now
