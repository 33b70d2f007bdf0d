"""Accounting for what was received: one transaction per success response."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from clinical import Transient
from service.book.audit import Action, AuditEvent, Subject, ae_actor, append
from service.book.database import one_at_a_time, reading_rows, writing_rows
from service.book.states import CompletedBy, InstanceState, StudyState, checked_study_change
from service.book.tables import InstanceRow, ReceiptRow, StudyRow

# Where a receipt has the called AE title of an association: by this it is told that the object came over HTTP, from
# the caller the audit log names so.
OVER_HTTP = "dicom-web"


@dataclass(frozen=True, slots=True)
class Arrival:
    """What the book must know of one object before the sender may hear "success".

    Attributes
    ----------
    digest
        Of the file in the spool (see `dicom_node.digests`); with the SOP Instance UID it identifies the object.
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
    digest: str
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

    def completed_by(self, first: datetime, last: datetime) -> CompletedBy:
        """Which of the two it is then."""
        quiet = last + timedelta(seconds=self.quiet_period_s)
        return CompletedBy.QUIET if quiet <= self.due(first, last) else CompletedBy.CAP


# Made once: putting a statement together costs more than SQLite needs to run it. Of the tables, not of the mapped
# classes: an object is acknowledged only after them, and sessions take several times as long.
_INSTANCES = InstanceRow.metadata.tables[InstanceRow.__tablename__]
_STUDIES = StudyRow.metadata.tables[StudyRow.__tablename__]
_HELD = select(
    _INSTANCES.c.id,
    _INSTANCES.c.digest,
    _INSTANCES.c.spool_key,
    _INSTANCES.c.state,
    _INSTANCES.c.purged_at_utc,
).where(_INSTANCES.c.sop_instance_uid == bindparam("sop_instance_uid"))
_NEW_INSTANCE = insert(_INSTANCES)
_CHANGED_INSTANCE = update(_INSTANCES).where(_INSTANCES.c.id == bindparam("row_id"))
_STUDY = (
    select(
        _STUDIES.c.id,
        _STUDIES.c.state,
        _STUDIES.c.priority,
        _STUDIES.c.arrivals,
        _STUDIES.c.first_received_at_utc,
    )
    .where(_STUDIES.c.study_instance_uid == bindparam("study_instance_uid"))
    .with_for_update()
)
_NEW_STUDY = insert(_STUDIES)
_CHANGED_STUDY = update(_STUDIES).where(_STUDIES.c.id == bindparam("row_id"))
_NEW_RECEIPT = insert(ReceiptRow.metadata.tables[ReceiptRow.__tablename__])


def known_digests(engine: Engine, sop_instance_uid: str) -> list[tuple[str, bool]]:
    """Digest of every object with this UID that has a row, and whether its file is held or has been purged."""
    with reading_rows(engine) as connection:
        rows = connection.execute(_HELD, {"sop_instance_uid": sop_instance_uid}).all()
        return [(row.digest, row.purged_at_utc is None) for row in rows]


def commit_arrival(engine: Engine, arrival: Arrival, rule: QuietRule) -> str:
    """Commit a receipt with its instance row; return the spool key the book keeps.

    An object already held gets one more receipt and no work. When two senders race with the same object the
    database's unique constraint lets one insert; the other's second try finds the row.

    Raises
    ------
    Transient
        As `commit_arrivals` raises it; then nothing was committed.
    """
    try:
        return commit_arrivals(engine, [arrival], rule)[0]
    except IntegrityError:
        return commit_arrivals(engine, [arrival], rule)[0]


def commit_arrivals(engine: Engine, arrivals: Sequence[Arrival], rule: QuietRule) -> list[str]:
    """Commit several receipts in one transaction, all or none; see `commit_arrival`.

    Raises
    ------
    Transient
        If the database cannot be written, or an object whose file was thought to be held has just been purged.
    IntegrityError
        If another process has just inserted one of the same objects.
    """
    with writing_rows(engine) as connection:
        # In one order everywhere, so that two processes never wait for each other.
        for uid in sorted({arrival.sop_instance_uid for arrival in arrivals}):
            one_at_a_time(connection, uid)
        desk = _Desk(connection, rule)
        in_order = sorted(range(len(arrivals)), key=lambda n: arrivals[n].study_instance_uid)
        taken = {n: desk.take(arrivals[n]) for n in in_order}
        desk.close()
        append(connection, [(_event(arrivals[n], taken[n]), arrivals[n].received_at_utc) for n in in_order])
        return [taken[n].key for n in range(len(arrivals))]


@dataclass(frozen=True, slots=True)
class _Taken:
    """What has become of one arrival."""

    instance_id: int
    key: str
    state: str


@dataclass(slots=True)
class _Study:
    """A study of this transaction: what the book knows of it, and what is to be written at the end."""

    id: int
    state: str
    priority: int
    arrivals: int
    first_received_at_utc: datetime
    changed: dict[str, Any] = field(default_factory=dict)


class _Desk:
    """One transaction's arrivals: rows that belong together are written together."""

    def __init__(self, connection: Connection, rule: QuietRule) -> None:
        self._connection = connection
        self._rule = rule
        self._studies: dict[str, _Study] = {}
        self._receipts: list[dict[str, Any]] = []

    def take(self, arrival: Arrival) -> _Taken:
        """Account for one arrival."""
        sought = {"sop_instance_uid": arrival.sop_instance_uid}
        held = self._connection.execute(_HELD, sought).all()
        same = next((row for row in held if row.digest == arrival.digest), None)
        taken = self._insert(arrival, sent_before=bool(held)) if same is None else self._again(arrival, same)
        self._receipts.append(
            {
                "instance_id": taken.instance_id,
                "calling_ae_title": arrival.calling_ae_title[:64],
                "called_ae_title": arrival.called_ae_title,
                "calling_host": arrival.calling_host,
                "received_at_utc": arrival.received_at_utc,
                "kind": "adopted" if arrival.adopted else "received",
            }
        )
        return taken

    def close(self) -> None:
        """Write what waited for the last arrival."""
        for study in self._studies.values():
            if study.changed:
                self._connection.execute(_CHANGED_STUDY, {"row_id": study.id, **study.changed})
        self._connection.execute(_NEW_RECEIPT, self._receipts)

    def _insert(self, arrival: Arrival, *, sent_before: bool) -> _Taken:
        study = self._study_of(arrival)
        values = _new_instance(study.id, arrival, sent_before=sent_before)
        inserted = self._connection.execute(_NEW_INSTANCE, values).inserted_primary_key
        if values["state"] == InstanceState.WAITING:
            now = arrival.received_at_utc
            changed = _reopened(study, self._rule, now=now, priority=arrival.priority)
            study.changed |= changed
            for name in changed.keys() & {"state", "priority", "arrivals", "first_received_at_utc"}:
                setattr(study, name, changed[name])
        return _Taken(int(inserted[0]) if inserted is not None else 0, arrival.spool_key, values["state"])

    def _again(self, arrival: Arrival, same: Any) -> _Taken:
        key = same.spool_key
        changed: dict[Any, Any] = {"receipt_count": _INSTANCES.c.receipt_count + 1}
        if same.purged_at_utc is not None:
            if not arrival.spool_key:
                # It was held when the sender's bytes were looked at, so that no file was written for it.
                raise Transient("spool-file-missing", "the object was purged just now; send it again")
            # Retention took the file; the sender has just given it back, so its row keeps the new one.
            key = arrival.spool_key
            changed |= {"spool_key": key, "purged_at_utc": None}
        self._connection.execute(_CHANGED_INSTANCE.values(changed), {"row_id": same.id})
        return _Taken(same.id, key, same.state)

    def _study_of(self, arrival: Arrival) -> _Study:
        uid = arrival.study_instance_uid
        if uid not in self._studies:
            row = self._connection.execute(_STUDY, {"study_instance_uid": uid}).first()
            self._studies[uid] = _Study(*row) if row is not None else self._new_study(arrival)
        return self._studies[uid]

    def _new_study(self, arrival: Arrival) -> _Study:
        now = arrival.received_at_utc
        values = {
            "study_instance_uid": arrival.study_instance_uid,
            "state": StudyState.IGNORED,
            "first_received_at_utc": now,
            "last_received_at_utc": now,
            "updated_at_utc": now,
            "reason_code": "no-candidate",
            "reason": "no object of this study is a chest radiograph to read",
        }
        inserted = self._connection.execute(_NEW_STUDY, values).inserted_primary_key
        return _Study(int(inserted[0]) if inserted is not None else 0, StudyState.IGNORED, 0, 0, now)


def _event(arrival: Arrival, taken: _Taken) -> AuditEvent:
    instance_id, state = taken.instance_id, taken.state
    if arrival.adopted:
        return AuditEvent(Action.ADOPT, "role:start", Subject.INSTANCE, instance_id, detail=state)
    if arrival.called_ae_title == OVER_HTTP:
        caller = f"{arrival.calling_ae_title}@{arrival.calling_host}"
    else:
        caller = ae_actor(arrival.calling_ae_title, arrival.calling_host)
    return AuditEvent(Action.RECEIVE, caller, Subject.INSTANCE, instance_id, detail=state)


def _new_instance(study_id: int, arrival: Arrival, *, sent_before: bool) -> dict[str, Any]:
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
    return {
        "study_id": study_id,
        "sop_instance_uid": arrival.sop_instance_uid,
        "sop_class_uid": arrival.sop_class_uid,
        "series_instance_uid": arrival.series_instance_uid,
        "transfer_syntax_uid": arrival.transfer_syntax_uid,
        "modality": arrival.modality,
        "digest": arrival.digest,
        "size_bytes": arrival.size_bytes,
        "spool_key": arrival.spool_key,
        "receipt_count": 1,
        "state": state,
        "reason_code": code,
        "reason": reason,
        "received_at_utc": arrival.received_at_utc,
        "state_since_utc": arrival.received_at_utc,
    }


def reopen(study: StudyRow, rule: QuietRule, *, now: datetime) -> None:
    """A candidate arrived: the study waits for quiet (again); a reading under way is followed by another."""
    for name, value in _reopened(study, rule, now=now, priority=0).items():
        setattr(study, name, value)


def _reopened(study: StudyRow | _Study, rule: QuietRule, *, now: datetime, priority: int) -> dict[str, Any]:
    """What changes of a study for which a candidate arrived, by column."""
    first = study.first_received_at_utc
    changed: dict[str, Any] = {
        "arrivals": study.arrivals + 1,
        "priority": max(study.priority, priority),
        "last_received_at_utc": now,
        "updated_at_utc": now,
    }
    if study.state not in (StudyState.RECEIVING, StudyState.READING, StudyState.TELLING):
        first = now
        changed |= {
            "state": checked_study_change(StudyState(study.state), StudyState.RECEIVING),
            "first_received_at_utc": now,
            "attempts": 0,
            "reason_code": "",
            "reason": "",
        }
    return {
        **changed,
        "due_at_utc": rule.due(first, now),
        "completed_by": rule.completed_by(first, now),
    }
