"""What a person was shown goes into the audit log."""

from __future__ import annotations

from collections.abc import Collection

from fastapi import Request

from service.book import Book
from service.book.audit import Action, AuditEvent, Subject, record
from service.clock import now_utc
from service.http.access import actor_of


def record_view(book: Book, request: Request, study_row_id: int, what: str) -> None:
    """Write into the audit log that the caller was shown something of a study, before it is shown."""
    event = AuditEvent(Action.VIEW, actor_of(request), Subject.STUDY, study_row_id, detail=what)
    record(book.engine, event, now=now_utc())


def record_search(book: Book, request: Request, study_row_ids: Collection[int]) -> None:
    """Write into the audit log how many studies' headers a search shows the caller, and of one study which.

    What was searched for is left out: it names patients.
    """
    count = len(study_row_ids)
    subject, subject_id = (Subject.STUDY, next(iter(study_row_ids))) if count == 1 else (Subject.NONE, None)
    event = AuditEvent(Action.VIEW, actor_of(request), subject, subject_id, detail=f"search: {count} studies")
    record(book.engine, event, now=now_utc())
