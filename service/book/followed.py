"""How far another system's changes have been followed, by its own clock."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Engine

from service.book.database import reading, writing
from service.book.tables import BookFact


def followed_to(engine: Engine, name: str) -> datetime | None:
    """The moment up to which `name` was followed; None at first."""
    with reading(engine) as session:
        fact = session.get(BookFact, f"followed/{name}")
        return datetime.fromisoformat(fact.value) if fact is not None else None


def note_followed(engine: Engine, name: str, moment_utc: datetime) -> None:
    """Remember how far `name` was followed."""
    with writing(engine) as session:
        session.merge(BookFact(name=f"followed/{name}", value=moment_utc.isoformat()))


def forget_followed(engine: Engine, name: str) -> None:
    """Forget that `name` was followed."""
    with writing(engine) as session:
        fact = session.get(BookFact, f"followed/{name}")
        if fact is not None:
            session.delete(fact)
