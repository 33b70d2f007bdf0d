"""How many calls the listener has refused, by reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Engine, select

from service.book.audit import AuditEvent, note
from service.book.database import one_at_a_time, reading, writing
from service.book.tables import RefusedCallsRow


def note_refusals(
    engine: Engine, numbers: Mapping[str, int], events: Sequence[AuditEvent], *, now: datetime
) -> None:
    """Add refused calls to the counts by reason, and their entries to the audit log."""
    with writing(engine) as session:
        one_at_a_time(session, "refused-calls")
        for reason, number in numbers.items():
            row = session.get(RefusedCallsRow, reason)
            if row is None:
                session.add(RefusedCallsRow(reason=reason, number=number))
            else:
                row.number += number
        for event in events:
            note(session, event, now)


def refusals(engine: Engine) -> dict[str, int]:
    """Calls refused since the book began, by reason."""
    with reading(engine) as session:
        return {row.reason: row.number for row in session.scalars(select(RefusedCallsRow))}
