"""What messages did: by their digests, so that one sent again is answered again and not acted on again."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Engine, delete, select
from sqlalchemy.orm import Session

from service.book.database import one_at_a_time, reading, writing
from service.book.tables import Hl7CountRow, Hl7MessageRow

# A sender that has no answer sends again within minutes, after an outage within days.
REMEMBERED = timedelta(days=30)


def was_acted_on(session: Session, digest: str) -> bool:
    """Whether `note_acted_on` was called for this digest; nobody else asks for it until this transaction ends."""
    one_at_a_time(session, digest)
    return session.get(Hl7MessageRow, digest) is not None


def note_acted_on(session: Session, digest: str, *, now: datetime) -> None:
    """Remember what has changed something, with this transaction."""
    session.execute(delete(Hl7MessageRow).where(Hl7MessageRow.received_at_utc < now - REMEMBERED))
    session.add(Hl7MessageRow(digest=digest, received_at_utc=now))


def count_message(session: Session, outcome: str) -> None:
    """Count a message by what became of it."""
    one_at_a_time(session, "hl7-counts")
    row = session.get(Hl7CountRow, outcome)
    if row is None:
        row = Hl7CountRow(outcome=outcome, number=0)
        session.add(row)
    row.number += 1


def count_refused(engine: Engine, outcome: str) -> None:
    """Count a message that was not taken, in a transaction of its own."""
    with writing(engine) as session:
        count_message(session, outcome)


def message_counts(engine: Engine) -> dict[str, int]:
    """Messages since the book began, by what became of them."""
    with reading(engine) as session:
        return {row.outcome: row.number for row in session.scalars(select(Hl7CountRow))}
