"""Who did what: an append-only log in which every row vouches for the one before.

A row's digest covers its content and the digest of its predecessor, so that a changed, inserted or removed row breaks
the chain at that place; the tables refuse UPDATE and DELETE besides. Whoever could write the whole table anew could
also make a new chain: keep a head (`raddraft audit verify` prints it) outside the database and verify against it.

Rows name patients' data by row number alone. Callers keep names, identifiers, UIDs and texts out of every field.
"""

from __future__ import annotations

import hashlib
import json
import os
import pwd
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum

from sqlalchemy import Connection, Engine, insert, select
from sqlalchemy.orm import Session

from service.book.database import before_commit, one_at_a_time, reading, writing
from service.book.tables import AuditRow

_LOCK = "audit-log"
_START_SHA256 = "0" * 64
_ROWS_AT_ONCE = 5000


class Action(StrEnum):
    """What was done."""

    START = "start"
    CONFIGURE = "configure"
    RECEIVE = "receive"
    ADOPT = "adopt"
    REFUSE = "refuse"
    COMMIT = "commit"
    READ = "read"
    DELIVER = "deliver"
    VIEW = "view"
    ASK = "ask"
    RETRACT = "retract"
    RETRY = "retry"
    RESEND = "resend"
    DROP = "drop"
    HOLD = "hold"
    RELEASE = "release"
    RECONCILE = "reconcile"
    SIGN = "sign"
    MERGE = "merge"
    PURGE = "purge"


class Subject(StrEnum):
    """The table whose row number an event names."""

    NONE = ""
    STUDY = "study"
    INSTANCE = "instance"
    DRAFT = "draft"
    DELIVERY = "delivery"
    DESTINATION = "destination"


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One thing that was done.

    Attributes
    ----------
    actor
        Who: ``ae:TITLE@host``, ``token:NAME``, ``user:NAME`` (of the operating system), ``role:owner of the lease``.
    subject_id
        Row number in the subject's table; None where nothing single is meant.
    outcome
        ``ok``, or a code in words of the program: ``warning``, ``refused``, ``failed``, ``peer-unreachable`` ...
    detail
        Words of the program (destination, kind of face, reason code), never data of a patient.
    """

    action: Action
    actor: str
    subject: Subject = Subject.NONE
    subject_id: int | None = None
    outcome: str = "ok"
    detail: str = ""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One row of the log."""

    number: int
    at_utc: datetime
    actor: str
    action: str
    subject: str
    subject_id: int | None
    outcome: str
    detail: str
    sha256: str


# Made once, and of the table: every acknowledged object waits for them.
_ROWS = AuditRow.metadata.tables[AuditRow.__tablename__]
_LAST = select(_ROWS.c.number, _ROWS.c.sha256).order_by(_ROWS.c.number.desc()).limit(1)
_NEW_ROWS = insert(_ROWS)
_COLUMNS = tuple(each.name for each in fields(AuditEntry))


@dataclass(frozen=True, slots=True)
class AuditVerdict:
    """What a look through the whole log found.

    Attributes
    ----------
    broken_at
        Number of the first row that does not follow from its predecessor; None where all do.
    head
        ``NUMBER:SHA256`` of the last row: what to keep elsewhere.
    """

    rows: int
    broken_at: int | None
    head: str
    reason: str = ""

    @property
    def whole(self) -> bool:
        """Whether every row is what was written, in its place."""
        return self.broken_at is None


def ae_actor(ae_title: str, host: str) -> str:
    """Actor of a DICOM association."""
    return f"ae:{ae_title}@{host}"


def user_actor() -> str:
    """Actor of a command: the operating system's user."""
    try:
        return f"user:{pwd.getpwuid(os.geteuid()).pw_name}"
    except KeyError:
        return f"user:{os.geteuid()}"


def note(session: Session, event: AuditEvent, now: datetime) -> None:
    """Add an event to the transaction it belongs to: both are committed or neither.

    It is written as the transaction's last act, so that the log is locked for the commit alone.
    """
    before_commit(session, _append, (event, now))


def record(engine: Engine, *events: AuditEvent, now: datetime) -> None:
    """Add events that belong to no other change, in a transaction of their own."""
    with writing(engine) as session:
        for event in events:
            note(session, event, now)


def _append(session: Session, noted: Sequence[tuple[AuditEvent, datetime]]) -> None:
    append(session.connection(), noted)


def append(connection: Connection, noted: Sequence[tuple[AuditEvent, datetime]]) -> None:
    """Add events to a transaction without a session; it must be the last thing the transaction does (see `note`)."""
    one_at_a_time(connection, _LOCK)
    last = connection.execute(_LAST).first()
    number, digest = (last.number, last.sha256) if last else (0, _START_SHA256)
    rows = []
    for event, now in noted:
        number += 1
        entry = AuditEntry(
            number,
            now.astimezone(UTC),
            _printable(event.actor, 128),
            event.action.value,
            event.subject.value,
            event.subject_id,
            _printable(event.outcome, 64),
            _printable(event.detail, 255),
            "",
        )
        digest = _digest(digest, entry)
        rows.append({**{name: getattr(entry, name) for name in _COLUMNS}, "sha256": digest})
    connection.execute(_NEW_ROWS, rows)


def _printable(text: str, length_max: int) -> str:
    # A caller's AE title is whatever it sent: control characters would forge lines of a printed log.
    return "".join(c if c.isprintable() else "?" for c in text)[:length_max]


def _digest(previous: str, entry: AuditEntry) -> str:
    content = [
        previous,
        entry.number,
        entry.at_utc.isoformat(timespec="microseconds"),
        entry.actor,
        entry.action,
        entry.subject,
        entry.subject_id,
        entry.outcome,
        entry.detail,
    ]
    return hashlib.sha256(json.dumps(content, ensure_ascii=True).encode("ascii")).hexdigest()


def audit_entries(
    engine: Engine,
    *,
    after: int = 0,
    limit: int = 1000,
    action: Action | None = None,
    subject: Subject | None = None,
    subject_id: int | None = None,
) -> list[AuditEntry]:
    """Rows with numbers above `after`, oldest first."""
    query = select(AuditRow).where(AuditRow.number > after)
    if action is not None:
        query = query.where(AuditRow.action == action.value)
    if subject is not None:
        query = query.where(AuditRow.subject == subject.value)
    if subject_id is not None:
        query = query.where(AuditRow.subject_id == subject_id)
    with reading(engine) as session:
        return [_entry(row) for row in session.scalars(query.order_by(AuditRow.number).limit(limit))]


def newest_audit_entries(engine: Engine, limit: int) -> list[AuditEntry]:
    """The last rows, oldest first."""
    with reading(engine) as session:
        rows = session.scalars(select(AuditRow).order_by(AuditRow.number.desc()).limit(limit)).all()
        return [_entry(row) for row in reversed(rows)]


def _entry(row: AuditRow) -> AuditEntry:
    return AuditEntry(
        row.number,
        row.at_utc,
        row.actor,
        row.action,
        row.subject,
        row.subject_id,
        row.outcome,
        row.detail,
        row.sha256,
    )


def verify_audit(engine: Engine, head: str = "") -> AuditVerdict:
    """Follow the chain from its first row to its last.

    Parameters
    ----------
    head
        ``NUMBER:SHA256`` of an earlier verdict, kept outside the database: the log must still hold that row, which a
        chain made anew or cut off at its end does not.
    """
    digest, last = _START_SHA256, 0
    wanted_number, _, wanted_sha256 = head.partition(":")
    for entry in _all_entries(engine):
        if entry.number != last + 1:
            return AuditVerdict(last, last + 1, f"{last}:{digest}", "a row is missing")
        digest = _digest(digest, entry)
        if digest != entry.sha256:
            return AuditVerdict(last, entry.number, f"{last}:{digest}", "the row is not what was written")
        last = entry.number
        if wanted_number == str(last) and wanted_sha256 != digest:
            return AuditVerdict(last, last, f"{last}:{digest}", "the chain was made anew since that head")
    if wanted_number and (not wanted_number.isdecimal() or int(wanted_number) > last):
        return AuditVerdict(last, last + 1, f"{last}:{digest}", "rows up to that head are missing")
    return AuditVerdict(last, None, f"{last}:{digest}")


def _all_entries(engine: Engine) -> Iterator[AuditEntry]:
    page = audit_entries(engine, limit=_ROWS_AT_ONCE)
    while page:
        yield from page
        page = audit_entries(engine, after=page[-1].number, limit=_ROWS_AT_ONCE)
