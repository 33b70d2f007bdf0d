"""A study's walk: assembled, leased for reading, drafted, told. Every change carries its lease's fence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine, or_, select, true, update
from sqlalchemy.orm import Session

from clinical import Draft, Finding, Transient, draft_from_json, draft_to_json
from service.book.audit import Action, AuditEvent, Subject, note
from service.book.database import reading, writing
from service.book.merges import key_of, told_in, with_key
from service.book.outbox import NEWER_DRAFT, close_study, withdraw_new
from service.book.states import (
    REJECTION_KIND,
    DeliveryState,
    InstanceState,
    StudyState,
    checked_instance_change,
    checked_study_change,
)
from service.book.study_holds import hold_new
from service.book.tables import DeliveryRow, DraftRow, InstanceRow, StudyRow

# What a study is leased for, and where a lease that ran out puts it back to.
_I = InstanceState
_READ_STATES = (_I.WAITING, _I.READING, _I.ANALYSED, _I.NOT_ASSESSED, _I.FAILED)
# Of several objects with one SOP Instance UID, those that are not the one that is read.
_DO_NOT_STAND = (_I.RECEIVED, _I.DUPLICATE, _I.QUARANTINED)
_LEASED_FROM = {StudyState.READING: StudyState.QUEUED, StudyState.TELLING: StudyState.DRAFTED}


# Priority of a study with a critical finding: above one that was sent as urgent (1).
CRITICAL_PRIORITY = 2


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on one study until `until_utc`; `fence` makes a late worker's changes fail."""

    study_id: int
    state: StudyState
    fence: int
    attempt: int
    until_utc: datetime


@dataclass(frozen=True, slots=True)
class HeldInstance:
    """One candidate image of a leased study."""

    instance_id: int
    sop_instance_uid: str
    spool_key: str
    file_sha256: str
    state: InstanceState


@dataclass(frozen=True, slots=True)
class InstanceVerdict:
    """Where a reading leaves one instance."""

    instance_id: int
    state: InstanceState
    reason_code: str = ""
    reason: str = ""


def close_quiet_studies(engine: Engine, now: datetime) -> list[int]:
    """Queue every study whose quiet period or cap is over; return the row ids."""
    with writing(engine) as session:
        due = session.scalars(
            select(StudyRow)
            .where(StudyRow.state == StudyState.RECEIVING, StudyRow.due_at_utc <= now)
            # A study that is being written to is not quiet: the next sweep looks again.
            .with_for_update(skip_locked=True)
        ).all()
        for study in due:
            study.state = checked_study_change(StudyState.RECEIVING, StudyState.QUEUED)
            study.due_at_utc, study.enqueued_at_utc, study.attempts = None, now, 0
            study.updated_at_utc = now
        return [study.id for study in due]


def forgotten_studies(
    engine: Engine, now: datetime, hint_age_s: float, work: StudyState, limit: int = 1000
) -> list[int]:
    """Studies that wait for `work` and lost their message or their worker; they are marked as hinted again.

    Parameters
    ----------
    hint_age_s
        Age from which an unanswered message counts as lost. A message too many is harmless: the lease decides.
    work
        Reading or telling.
    limit
        The most to name: the most urgent first, of those the oldest.
    """
    stale = now - timedelta(seconds=hint_age_s)
    unhinted = or_(StudyRow.enqueued_at_utc.is_(None), StudyRow.enqueued_at_utc <= stale)
    due = or_(StudyRow.due_at_utc.is_(None), StudyRow.due_at_utc <= now)
    waiting = (StudyRow.state == _LEASED_FROM[work]) & due
    expired = (StudyRow.state == work) & (StudyRow.lease_until_utc <= now)
    wanted = (waiting | expired) & unhinted
    with reading(engine) as session:
        query = select(StudyRow.id).where(wanted).order_by(StudyRow.priority.desc(), StudyRow.id)
        ids = session.scalars(query.limit(limit)).all()
    if not ids:
        return []
    with writing(engine) as session:
        rows = session.scalars(select(StudyRow).where(StudyRow.id.in_(ids), wanted)).all()
        for row in rows:
            row.enqueued_at_utc = now
        still = {row.id for row in rows}
    return [study_id for study_id in ids if study_id in still]


def lease_study(
    engine: Engine, study_id: int, state: StudyState, *, owner: str, lease_s: float, now: datetime
) -> Lease | None:
    """Lease a study for `state` (reading or telling); None if it is not there to be had.

    The attempt is counted here, before any work, so that work that kills its worker is counted too.
    """
    with writing(engine) as session:
        row = session.get(StudyRow, study_id, with_for_update=True)
        if row is None or not _free(row, state, now):
            return None
        row.state = checked_study_change(StudyState(row.state), state)
        if state is StudyState.READING:
            row.arrivals_taken = row.arrivals
        until = now + timedelta(seconds=lease_s)
        row.lease_owner, row.lease_until_utc, row.updated_at_utc = owner, until, now
        row.fence += 1
        row.attempts += 1
        return Lease(row.id, state, row.fence, row.attempts, until)


def _free(row: StudyRow, state: StudyState, now: datetime) -> bool:
    if row.state == _LEASED_FROM[state]:
        return row.due_at_utc is None or row.due_at_utc <= now
    return row.state == state and row.lease_until_utc is not None and row.lease_until_utc <= now


def attempts_so_far(engine: Engine, study_id: int) -> int:
    """Attempts already counted for the study's present step."""
    with reading(engine) as session:
        return session.scalar(select(StudyRow.attempts).where(StudyRow.id == study_id)) or 0


def held_row(session: Session, lease: Lease) -> StudyRow:
    """The leased study's row, locked.

    Raises
    ------
    Transient
        ``stale-lease`` if somebody else has leased the study since: this worker's result is void.
    """
    row = session.get(StudyRow, lease.study_id, with_for_update=True)
    if row is None or row.fence != lease.fence or row.state != lease.state:
        raise Transient("stale-lease", "another worker has taken this study over; this result is dropped")
    return row


def study_identity(engine: Engine, study_id: int) -> tuple[str, int]:
    """Study Instance UID and the version its next Draft will have."""
    with reading(engine) as session:
        row = session.get(StudyRow, study_id)
        if row is None:
            raise Transient("study-gone", "the study's row is not in the account book")
        return row.study_instance_uid, row.draft_version + 1


def priority_of(engine: Engine, study_id: int) -> int:
    """How urgent a study is; 0 is routine."""
    with reading(engine) as session:
        return session.scalar(select(StudyRow.priority).where(StudyRow.id == study_id)) or 0


def next_urgent(
    engine: Engine, above: int, now: datetime, state: StudyState = StudyState.QUEUED
) -> int | None:
    """The study in `state` to be worked on before one of priority `above`: the most urgent, of those the oldest."""
    with reading(engine) as session:
        due = or_(StudyRow.due_at_utc.is_(None), StudyRow.due_at_utc <= now)
        return session.scalars(
            select(StudyRow.id)
            .where(StudyRow.state == state, StudyRow.priority > above, due)
            .order_by(StudyRow.priority.desc(), StudyRow.id)
            .limit(1)
        ).first()


def candidates(engine: Engine, study_id: int) -> tuple[HeldInstance, ...]:
    """The study's images to read, oldest first, with their files still there."""
    return _held_in(engine, study_id, _READ_STATES)


def _held_in(engine: Engine, study_id: int, states: Sequence[InstanceState]) -> tuple[HeldInstance, ...]:
    with reading(engine) as session:
        rows = session.scalars(
            select(InstanceRow)
            .where(
                InstanceRow.study_id == study_id,
                InstanceRow.state.in_(states),
                InstanceRow.purged_at_utc.is_(None),
            )
            .order_by(InstanceRow.id)
        ).all()
        return tuple(
            HeldInstance(
                row.id, row.sop_instance_uid, row.spool_key, row.file_sha256, InstanceState(row.state)
            )
            for row in rows
        )


def images_of_study(engine: Engine, study_id: int) -> tuple[HeldInstance, ...]:
    """Every image of the study a Draft may name, quarantined ones included, with their files still there."""
    return _held_in(engine, study_id, [*_READ_STATES, _I.QUARANTINED, _I.IGNORED])


def save_draft(
    engine: Engine, lease: Lease, draft: Draft, verdicts: Sequence[InstanceVerdict], *, now: datetime
) -> int:
    """Save a Draft and where it leaves its instances; return the Draft's row id."""
    with writing(engine) as session:
        study = held_row(session, lease)
        _apply_verdicts(session, verdicts, now)
        key = key_of(session, study.id)
        draft = draft if key is None else with_key(draft, key)
        row = DraftRow(
            study_id=study.id,
            version=draft.version,
            outcome=draft.outcome,
            draft_json=draft_to_json(draft),
            created_at_utc=now,
            answers=sum(len(read.exchanges) for read in draft.readings),
            malformed_answers=sum(asked.malformed for read in draft.readings for asked in read.exchanges),
        )
        session.add(row)
        session.flush()
        study.state = checked_study_change(StudyState(study.state), StudyState.DRAFTED)
        study.draft_version, study.outcome = draft.version, draft.outcome
        study.reason_code = draft.reasons[0].code if draft.reasons else ""
        study.reason = draft.reasons[0].reason[:255] if draft.reasons else ""
        _raise(study, draft)
        note(session, _read_event(study, Subject.DRAFT, row.id, draft.outcome), now)
        _release(study, now)
        study.attempts = 0
        return row.id


def _raise(study: StudyRow, draft: Draft) -> None:
    """Note what is critical and let it go first from here on. Never lowered: a later version takes nothing back."""
    if not draft.critical:
        return
    names = dict.fromkeys([*filter(None, study.critical.split(", ")), *(c.name for c in draft.critical)])
    study.critical = ", ".join(names)[:255]
    study.priority = max(study.priority, CRITICAL_PRIORITY)


def set_aside(engine: Engine, lease: Lease, verdicts: Sequence[InstanceVerdict], *, now: datetime) -> None:
    """End a study of which nothing is left to read: every candidate turned out not to be ours."""
    with writing(engine) as session:
        study = held_row(session, lease)
        _apply_verdicts(session, verdicts, now)
        study.state = checked_study_change(StudyState(study.state), StudyState.IGNORED)
        study.reason_code = verdicts[0].reason_code if verdicts else "no-candidate"
        study.reason = (
            verdicts[0].reason if verdicts else "no object of this study is a chest radiograph to read"
        )
        note(session, _read_event(study, Subject.STUDY, study.id, study.reason_code), now)
        _release(study, now)
        _reopen_if_more_came(study, now)


def _read_event(study: StudyRow, subject: Subject, row_id: int, detail: str) -> AuditEvent:
    return AuditEvent(Action.READ, f"role:{study.lease_owner}", subject, row_id, detail=detail)


def _apply_verdicts(session: Session, verdicts: Sequence[InstanceVerdict], now: datetime) -> None:
    for verdict in verdicts:
        row = session.get(InstanceRow, verdict.instance_id)
        if row is None or row.state == verdict.state:
            continue
        row.state = checked_instance_change(InstanceState(row.state), verdict.state)
        row.reason_code, row.reason, row.state_since_utc = verdict.reason_code, verdict.reason[:255], now


def put_back(
    engine: Engine,
    lease: Lease,
    *,
    code: str,
    reason: str,
    due_at_utc: datetime,
    now: datetime,
    counted: bool = True,
) -> None:
    """Return a leased study after a transient failure; it is due again at `due_at_utc`.

    Parameters
    ----------
    counted
        Whether the attempt stays counted: not where the work itself went well and only could not be written down.
    """
    with writing(engine) as session:
        study = held_row(session, lease)
        study.state = checked_study_change(StudyState(study.state), _LEASED_FROM[lease.state])
        study.reason_code, study.reason = code, reason[:255]
        _release(study, now)
        study.due_at_utc = due_at_utc
        study.attempts -= not counted


def end_telling(engine: Engine, lease: Lease, outbox: Sequence[DeliveryRow], *, now: datetime) -> list[int]:
    """Write the outbox of the latest Draft and free the study; return the delivery row ids.

    Deliveries of older versions that have not left yet are superseded, where the newer Draft replaces them: a version
    made for some destinations says nothing to the others.
    """
    with writing(engine) as session:
        study = held_row(session, lease)
        open_states = [DeliveryState.PENDING, DeliveryState.UNMATCHED, DeliveryState.HELD]
        names = told_in(session, study.id)
        replaced = true() if names is None else DeliveryRow.destination.in_(names)
        session.execute(
            update(DeliveryRow)
            .where(
                DeliveryRow.study_id == study.id,
                DeliveryRow.state.in_(open_states),
                DeliveryRow.kind != REJECTION_KIND,
                replaced,
            )
            .values(state=DeliveryState.SUPERSEDED, reason_code=NEWER_DRAFT[0], reason=NEWER_DRAFT[1])
        )
        hold_new(study, outbox)
        withdraw_new(study, outbox)
        session.add_all(outbox)
        session.flush()
        ended = StudyState.DELIVERING if outbox else _final_state(study)
        study.state = checked_study_change(StudyState(study.state), ended)
        _release(study, now)
        study.attempts = 0
        if study.signed_at_utc is not None:
            close_study(session, study.id, now)
        _reopen_if_more_came(study, now)
        return [row.id for row in outbox]


def _final_state(study: StudyRow) -> StudyState:
    return StudyState.FAILED if study.outcome == "failed" else StudyState.DONE


def _release(study: StudyRow, now: datetime) -> None:
    study.lease_owner, study.lease_until_utc, study.enqueued_at_utc, study.due_at_utc = "", None, None, None
    study.updated_at_utc = now


def _reopen_if_more_came(study: StudyRow, now: datetime) -> None:
    if study.arrivals > study.arrivals_taken:
        study.state = checked_study_change(StudyState(study.state), StudyState.RECEIVING)
        study.first_received_at_utc, study.due_at_utc, study.updated_at_utc = now, now, now


def fail_study(engine: Engine, lease: Lease, *, code: str, reason: str, now: datetime) -> None:
    """End a study whose Draft exists but whose faces cannot be made."""
    with writing(engine) as session:
        study = held_row(session, lease)
        study.state = checked_study_change(StudyState(study.state), StudyState.FAILED)
        study.reason_code, study.reason = code, reason[:255]
        _release(study, now)
        _reopen_if_more_came(study, now)


def latest_draft(engine: Engine, study_id: int) -> tuple[int, Draft] | None:
    """Row id and value of the study's newest Draft."""
    with reading(engine) as session:
        row = session.scalars(
            select(DraftRow).where(DraftRow.study_id == study_id).order_by(DraftRow.version.desc()).limit(1)
        ).first()
        if row is None or row.purged_at_utc is not None:
            return None
        return row.id, draft_from_json(row.draft_json)


def earlier_findings(engine: Engine, study_id: int, version: int) -> tuple[Finding, ...]:
    """Findings of the version before `version`, for whoever must withdraw those that are gone."""
    with reading(engine) as session:
        row = session.scalars(
            select(DraftRow)
            .where(DraftRow.study_id == study_id, DraftRow.version < version)
            .order_by(DraftRow.version.desc())
            .limit(1)
        ).first()
    if row is None or row.purged_at_utc is not None:
        return ()
    return tuple(finding for read in draft_from_json(row.draft_json).readings for finding in read.findings)


def instances_to_compare(engine: Engine, limit: int = 1000) -> list[int]:
    """Instances acknowledged with the same SOP Instance UID as an older one and other bytes."""
    with reading(engine) as session:
        query = select(InstanceRow.id).where(InstanceRow.state == InstanceState.RECEIVED).limit(limit)
        return list(session.scalars(query))


def pair_to_compare(engine: Engine, instance_id: int) -> tuple[InstanceRow, InstanceRow] | None:
    """The older instance that stands and the newer one to be classed."""
    with reading(engine) as session:
        newer = session.get(InstanceRow, instance_id)
        if newer is None or newer.state != InstanceState.RECEIVED:
            return None
        older = session.scalars(
            select(InstanceRow)
            .where(InstanceRow.sop_instance_uid == newer.sop_instance_uid, InstanceRow.id < newer.id)
            .where(InstanceRow.state.not_in(_DO_NOT_STAND))
            .order_by(InstanceRow.id.desc())
        ).first()
        if older is None:
            return None
        session.expunge_all()
        return older, newer


def class_instance(engine: Engine, verdict: InstanceVerdict, *, now: datetime) -> None:
    """Record what a compared instance turned out to be."""
    with writing(engine) as session:
        _apply_verdicts(session, [verdict], now)


def requeue(engine: Engine, study_instance_uid: str | None, *, now: datetime) -> int:
    """Put failed studies (or the one named) back to be read; return how many."""
    with writing(engine) as session:
        query = select(StudyRow).where(StudyRow.state == StudyState.FAILED).with_for_update()
        if study_instance_uid is not None:
            query = query.where(StudyRow.study_instance_uid == study_instance_uid)
        rows = session.scalars(query).all()
        for row in rows:
            row.state = checked_study_change(StudyState.FAILED, StudyState.QUEUED)
            row.attempts, row.reason_code, row.reason = 0, "", ""
            _release(row, now)
        return len(rows)
