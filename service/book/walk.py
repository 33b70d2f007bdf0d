"""A study's walk: assembled, leased for reading, drafted, told. Every change carries its lease's fence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine, select, true, update
from sqlalchemy.orm import Session

from clinical import Draft, Transient, draft_to_json
from service.book.audit import Action, AuditEvent, Subject, note
from service.book.database import reading, writing
from service.book.merges import key_of, told_in, with_key
from service.book.outbox import NEWER_DRAFT, close_study, withdraw_new
from service.book.states import REJECTION_KIND, DeliveryState, StudyState, checked_study_change
from service.book.study_holds import hold_new
from service.book.study_images import InstanceVerdict, apply_verdicts
from service.book.tables import DeliveryRow, DraftRow, StudyRow

# What a study is leased for, and where a lease that ran out puts it back to.
LEASED_FROM = {StudyState.READING: StudyState.QUEUED, StudyState.TELLING: StudyState.DRAFTED}
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
    if row.state == LEASED_FROM[state]:
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


def save_draft(
    engine: Engine, lease: Lease, draft: Draft, verdicts: Sequence[InstanceVerdict], *, now: datetime
) -> int:
    """Save a Draft and where it leaves its instances; return the Draft's row id."""
    with writing(engine) as session:
        study = held_row(session, lease)
        apply_verdicts(session, verdicts, now)
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
        release(study, now)
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
        apply_verdicts(session, verdicts, now)
        study.state = checked_study_change(StudyState(study.state), StudyState.IGNORED)
        study.reason_code = verdicts[0].reason_code if verdicts else "no-candidate"
        study.reason = (
            verdicts[0].reason if verdicts else "no object of this study is a chest radiograph to read"
        )
        note(session, _read_event(study, Subject.STUDY, study.id, study.reason_code), now)
        release(study, now)
        _reopen_if_more_came(study, now)


def _read_event(study: StudyRow, subject: Subject, row_id: int, detail: str) -> AuditEvent:
    return AuditEvent(Action.READ, f"role:{study.lease_owner}", subject, row_id, detail=detail)


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
        study.state = checked_study_change(StudyState(study.state), LEASED_FROM[lease.state])
        study.reason_code, study.reason = code, reason[:255]
        release(study, now)
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
        release(study, now)
        study.attempts = 0
        if study.signed_at_utc is not None:
            close_study(session, study.id, now)
        _reopen_if_more_came(study, now)
        return [row.id for row in outbox]


def _final_state(study: StudyRow) -> StudyState:
    return StudyState.FAILED if study.outcome == "failed" else StudyState.DONE


def release(study: StudyRow, now: datetime) -> None:
    """End the study's lease: nobody works on it, nobody has been told of it, and it is not put off."""
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
        release(study, now)
        _reopen_if_more_came(study, now)
