"""Results that were only tried out: built, checked and logged, and never sent."""

from __future__ import annotations

from sqlalchemy import ColumnElement, exists

from service.book.states import DeliveryState
from service.book.tables import DeliveryAttemptRow, DeliveryRow


def never_left() -> ColumnElement[bool]:
    """Whether every attempt of a delivery was a dry run, so that its destination cannot have it."""
    sent = exists().where(
        DeliveryAttemptRow.delivery_id == DeliveryRow.id, DeliveryAttemptRow.state != DeliveryState.WOULD_SEND
    )
    return (DeliveryRow.state == DeliveryState.WOULD_SEND) & ~sent
