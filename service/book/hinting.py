"""Rows whose worker is told again that they wait."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar

from sqlalchemy import ColumnElement, Engine, select

from service.book.database import writing
from service.book.tables import DeliveryRow, StudyRow

_Row = TypeVar("_Row", StudyRow, DeliveryRow)


def mark_hinted(
    engine: Engine, table: type[_Row], ids: Sequence[int], wanted: ColumnElement[bool], now: datetime
) -> list[int]:
    """Mark rows as hinted at `now`; those of `ids` that are still `wanted`, in the same order."""
    if not ids:
        return []
    with writing(engine) as session:
        rows = session.scalars(select(table).where(table.id.in_(ids), wanted)).all()
        for row in rows:
            row.enqueued_at_utc = now
        still = {row.id for row in rows}
    return [row_id for row_id in ids if row_id in still]
