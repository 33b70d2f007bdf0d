"""Servers that, by their own word, offered no way to write a study's report: it went, and goes, another way."""

from __future__ import annotations

from sqlalchemy import Engine, select

from service.book.database import reading
from service.book.outbox import FELL_BACK
from service.book.tables import DeliveryRow


def fallen_places(engine: Engine, study_id: int) -> frozenset[str]:
    """Names of the destinations whose report of this study went elsewhere, in any version."""
    query = select(DeliveryRow.destination).where(
        DeliveryRow.study_id == study_id, DeliveryRow.reason_code == FELL_BACK
    )
    with reading(engine) as session:
        return frozenset(session.scalars(query))
