"""Storage commitment requests of others: on record before they are acknowledged, answered from the book."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine, select

from dicom_node.commitment import (
    CLASS_INSTANCE_CONFLICT,
    NO_SUCH_OBJECT,
    CommitmentReport,
    CommitmentRequest,
    Reference,
)
from service.book.audit import Action, AuditEvent, ae_actor, note
from service.book.database import reading, writing
from service.book.tables import CommitmentRow, InstanceRow

# A requestor whose answer has not reached it for a day has asked again, or somebody else.
_GIVE_UP_AFTER = timedelta(hours=24)
_FIRST_DELAY_S, _LONGEST_DELAY_S = 15.0, 900.0
_QUERY_CHUNK = 500


@dataclass(frozen=True, slots=True)
class DueCommitment:
    """A request to be answered now."""

    id: int
    calling_ae_title: str
    calling_host: str
    request: CommitmentRequest


def note_request(
    engine: Engine, request: CommitmentRequest, ae_title: str, host: str, *, now: datetime
) -> int:
    """Put a request on record, due at once; its row number.

    Raises
    ------
    Transient
        If the book does not answer; then nothing is on record.
    """
    references = [[each.sop_class_uid, each.sop_instance_uid] for each in request.references]
    with writing(engine) as session:
        row = CommitmentRow(
            transaction_uid=request.transaction_uid,
            calling_ae_title=ae_title,
            calling_host=host,
            references_json=json.dumps(references),
            received_at_utc=now,
            due_at_utc=now,
            attempts=0,
        )
        session.add(row)
        session.flush()
        event = AuditEvent(
            Action.COMMIT, ae_actor(ae_title, host), outcome="asked", detail=f"{len(references)} objects"
        )
        note(session, event, now)
        return row.id


def due_commitments(engine: Engine, *, now: datetime, limit: int = 20) -> list[DueCommitment]:
    """Requests to be answered now; each is due again later unless `end_commitment` is called."""
    due = CommitmentRow.due_at_utc <= now
    with reading(engine) as session:
        if session.scalar(select(CommitmentRow.id).where(due).limit(1)) is None:
            return []
    with writing(engine) as session:
        query = select(CommitmentRow).where(due).order_by(CommitmentRow.id).limit(limit)
        taken = []
        for row in session.scalars(query.with_for_update(skip_locked=True)):
            row.attempts += 1
            delay_s = min(_LONGEST_DELAY_S, _FIRST_DELAY_S * 2.0 ** min(row.attempts - 1, 10))
            over = now - row.received_at_utc > _GIVE_UP_AFTER
            row.due_at_utc = None if over else now + timedelta(seconds=delay_s)
            references = tuple(Reference(*each) for each in json.loads(row.references_json))
            request = CommitmentRequest(row.transaction_uid, references)
            taken.append(DueCommitment(row.id, row.calling_ae_title, row.calling_host, request))
        return taken


def end_commitment(engine: Engine, commitment_id: int, report: CommitmentReport, *, now: datetime) -> None:
    """The requestor has its answer."""
    with writing(engine) as session:
        row = session.get(CommitmentRow, commitment_id)
        if row is None or row.reported_at_utc is not None:
            return
        row.due_at_utc, row.reported_at_utc = None, now
        detail = f"{len(report.committed)} committed, {len(report.failed)} not"
        actor = ae_actor(row.calling_ae_title, row.calling_host)
        note(session, AuditEvent(Action.COMMIT, actor, outcome="reported", detail=detail), now)


def answer_from_book(
    engine: Engine, request: CommitmentRequest, is_there: Callable[[str], bool]
) -> CommitmentReport:
    """What of a request the book holds, with its file.

    Parameters
    ----------
    is_there
        Whether the spool holds the file with a key.
    """
    held = _held(engine, [each.sop_instance_uid for each in request.references])
    committed, failed = [], []
    for reference in request.references:
        classes = [sop_class for sop_class, key in held.get(reference.sop_instance_uid, ()) if is_there(key)]
        if reference.sop_class_uid in classes:
            committed.append(reference)
        else:
            failed.append((reference, CLASS_INSTANCE_CONFLICT if classes else NO_SUCH_OBJECT))
    return CommitmentReport(request.transaction_uid, tuple(committed), tuple(failed))


def _held(engine: Engine, uids: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    held: dict[str, list[tuple[str, str]]] = {}
    with reading(engine) as session:
        for start in range(0, len(uids), _QUERY_CHUNK):
            query = select(
                InstanceRow.sop_instance_uid, InstanceRow.sop_class_uid, InstanceRow.spool_key
            ).where(
                InstanceRow.sop_instance_uid.in_(uids[start : start + _QUERY_CHUNK]),
                InstanceRow.purged_at_utc.is_(None),
            )
            for uid, sop_class, key in session.execute(query):
                held.setdefault(uid, []).append((sop_class, key))
    return held
