"""What an audit row is about: the study behind its row number, and where a delivery went."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from service.book.audit import AuditEntry, Subject
from service.book.database import reading, writing
from service.book.tables import BookFact, DeliveryRow, DraftRow, InstanceRow, StudyRow


@dataclass(frozen=True, slots=True)
class AuditSubject:
    """The study an audit row is about; destination and kind where it is about a delivery."""

    study_id: int
    study_instance_uid: str
    destination: str = ""
    kind: str = ""


def subject_of(engine: Engine, entry: AuditEntry) -> AuditSubject | None:
    """What the row names by number; None where that is no study, or is gone."""
    if entry.subject_id is None:
        return None
    with reading(engine) as session:
        if entry.subject == Subject.STUDY:
            return _subject(session, entry.subject_id)
        if entry.subject == Subject.DELIVERY:
            sent = session.get(DeliveryRow, entry.subject_id)
            return _subject(session, sent.study_id, sent.destination, sent.kind) if sent is not None else None
        row = _row(session, entry)
        return _subject(session, row.study_id) if row is not None else None


def _row(session: Session, entry: AuditEntry) -> InstanceRow | DraftRow | None:
    if entry.subject == Subject.INSTANCE:
        return session.get(InstanceRow, entry.subject_id)
    if entry.subject == Subject.DRAFT:
        return session.get(DraftRow, entry.subject_id)
    return None


def _subject(session: Session, study_id: int, destination: str = "", kind: str = "") -> AuditSubject | None:
    uid = session.scalar(select(StudyRow.study_instance_uid).where(StudyRow.id == study_id))
    return AuditSubject(study_id, uid, destination, kind) if uid is not None else None


def told_up_to(engine: Engine, reader: str) -> int:
    """Number of the last audit row a reader of the log has told on; 0 at first."""
    with reading(engine) as session:
        fact = session.get(BookFact, f"audit-told/{reader}")
        return int(fact.value) if fact is not None else 0


def note_told(engine: Engine, reader: str, number: int) -> None:
    """Remember how far a reader has come."""
    with writing(engine) as session:
        session.merge(BookFact(name=f"audit-told/{reader}", value=str(number)))
