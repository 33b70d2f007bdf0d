"""Accounting for what was received: one transaction per success response."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.book.audit import Action, AuditEvent, Subject, ae_actor, note
from service.book.database import one_at_a_time, reading, writing
from service.book.states import InstanceState, StudyState, checked_study_change
from service.book.tables import InstanceRow, ReceiptRow, StudyRow

# Where a receipt has the called AE title of an association: by this it is told that the object came over HTTP, from
# the caller the audit log names so.
OVER_HTTP = "dicom-web"


@dataclass(frozen=True, slots=True)
class Arrival:
    """What the book must know of one object before the sender may hear "success".

    Attributes
    ----------
    dataset_sha256
        Digest of the data set's bytes as received; with the SOP Instance UID it identifies the object.
    ignored_code, ignored_reason
        Why it is not ours to read; empty for a candidate.
    priority
        0 for routine work; above it, the study is read before all of a lower one.
    adopted
        Whether it is a file found in the spool, for which nobody was answered.
    """

    sop_instance_uid: str
    sop_class_uid: str
    study_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    modality: str
    dataset_sha256: str
    file_sha256: str
    size_bytes: int
    spool_key: str
    calling_ae_title: str
    called_ae_title: str
    calling_host: str
    received_at_utc: datetime
    ignored_code: str = ""
    ignored_reason: str = ""
    priority: int = 0
    adopted: bool = False


@dataclass(frozen=True, slots=True)
class QuietRule:
    """When a study counts as complete: quiet for `quiet_period_s`, at most `max_wait_s` after its first image."""

    quiet_period_s: float
    max_wait_s: float

    def due(self, first: datetime, last: datetime) -> datetime:
        """When a study whose images came between `first` and `last` is due."""
        return min(last + timedelta(seconds=self.quiet_period_s), first + timedelta(seconds=self.max_wait_s))


def is_held(engine: Engine, sop_instance_uid: str, dataset_sha256: str) -> bool:
    """Whether the book already holds this very object with its file."""
    with reading(engine) as session:
        query = select(InstanceRow.id).where(
            InstanceRow.sop_instance_uid == sop_instance_uid,
            InstanceRow.dataset_sha256 == dataset_sha256,
            InstanceRow.purged_at_utc.is_(None),
        )
        return session.execute(query).first() is not None


def commit_arrival(engine: Engine, arrival: Arrival, rule: QuietRule) -> str:
    """Commit a receipt with its instance row; return the spool key the book keeps.

    An object already held gets one more receipt and no work. When two senders race with the same object the
    database's unique constraint lets one insert; the other's second try finds the row.

    Raises
    ------
    Transient
        If the database cannot be written; then nothing was committed.
    """
    try:
        return _commit_once(engine, arrival, rule)
    except IntegrityError:
        return _commit_once(engine, arrival, rule)


def _commit_once(engine: Engine, arrival: Arrival, rule: QuietRule) -> str:
    with writing(engine) as session:
        one_at_a_time(session, arrival.sop_instance_uid)
        held = session.scalars(
            select(InstanceRow).where(InstanceRow.sop_instance_uid == arrival.sop_instance_uid)
        ).all()
        same = next((row for row in held if row.dataset_sha256 == arrival.dataset_sha256), None)
        if same is None:
            study = _study_of(session, arrival)
            same = _new_instance(session, study, arrival, sent_before=bool(held))
            if same.state == InstanceState.WAITING:
                reopen(study, rule, now=arrival.received_at_utc, priority=arrival.priority)
        elif same.purged_at_utc is not None:
            # Retention took the file; the sender has just given it back, so its row keeps the new one.
            same.spool_key, same.file_sha256, same.purged_at_utc = (
                arrival.spool_key,
                arrival.file_sha256,
                None,
            )
        session.flush()
        session.execute(
            update(InstanceRow)
            .where(InstanceRow.id == same.id)
            .values(receipt_count=InstanceRow.receipt_count + 1)
        )
        session.add(
            ReceiptRow(
                instance_id=same.id,
                calling_ae_title=arrival.calling_ae_title,
                called_ae_title=arrival.called_ae_title,
                calling_host=arrival.calling_host,
                received_at_utc=arrival.received_at_utc,
                kind="adopted" if arrival.adopted else "received",
            )
        )
        note(session, _event(arrival, same), arrival.received_at_utc)
        return same.spool_key


def _event(arrival: Arrival, row: InstanceRow) -> AuditEvent:
    if arrival.adopted:
        return AuditEvent(Action.ADOPT, "role:start", Subject.INSTANCE, row.id, detail=row.state)
    caller = ae_actor(arrival.calling_ae_title, arrival.calling_host)
    return AuditEvent(Action.RECEIVE, caller, Subject.INSTANCE, row.id, detail=row.state)


def _study_of(session: Session, arrival: Arrival) -> StudyRow:
    study = session.scalars(
        select(StudyRow).where(StudyRow.study_instance_uid == arrival.study_instance_uid).with_for_update()
    ).first()
    if study is None:
        now = arrival.received_at_utc
        study = StudyRow(
            study_instance_uid=arrival.study_instance_uid,
            state=StudyState.IGNORED,
            first_received_at_utc=now,
            last_received_at_utc=now,
            updated_at_utc=now,
            reason_code="no-candidate",
            reason="no object of this study is a chest radiograph to read",
            priority=0,
            arrivals=0,
            arrivals_taken=0,
        )
        session.add(study)
        session.flush()
    return study


def _new_instance(session: Session, study: StudyRow, arrival: Arrival, *, sent_before: bool) -> InstanceRow:
    if arrival.ignored_code:
        state, code, reason = InstanceState.IGNORED, arrival.ignored_code, arrival.ignored_reason
    elif sent_before:
        # Same SOP Instance UID, other bytes: kept and acknowledged now, classed by a task afterwards.
        state, code, reason = (
            InstanceState.RECEIVED,
            "to-be-compared",
            "same SOP Instance UID with other bytes",
        )
    else:
        state, code, reason = InstanceState.WAITING, "", ""
    row = InstanceRow(
        study_id=study.id,
        sop_instance_uid=arrival.sop_instance_uid,
        sop_class_uid=arrival.sop_class_uid,
        series_instance_uid=arrival.series_instance_uid,
        transfer_syntax_uid=arrival.transfer_syntax_uid,
        modality=arrival.modality,
        dataset_sha256=arrival.dataset_sha256,
        file_sha256=arrival.file_sha256,
        size_bytes=arrival.size_bytes,
        spool_key=arrival.spool_key,
        receipt_count=0,
        state=state,
        reason_code=code,
        reason=reason,
        received_at_utc=arrival.received_at_utc,
        state_since_utc=arrival.received_at_utc,
    )
    session.add(row)
    return row


def reopen(study: StudyRow, rule: QuietRule, *, now: datetime, priority: int = 0) -> None:
    """A candidate arrived: the study waits for quiet (again); a reading under way is followed by another."""
    study.arrivals += 1
    study.priority = max(study.priority, priority)
    if study.state not in (StudyState.RECEIVING, StudyState.READING, StudyState.TELLING):
        study.state = checked_study_change(StudyState(study.state), StudyState.RECEIVING)
        study.first_received_at_utc = now
        study.attempts = 0
        study.reason_code, study.reason = "", ""
    study.last_received_at_utc = now
    study.updated_at_utc = now
    study.due_at_utc = rule.due(study.first_received_at_utc, now)
