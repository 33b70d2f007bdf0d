"""After the clock stepped back: times in the book that lie further ahead than they ever could are brought near.

A lease, a hint or a delay written before the step would otherwise last for as long as the clock was set back.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import CursorResult, Engine, or_, select, update
from sqlalchemy.orm import Session

from service.book.database import reading, writing
from service.book.states import TO_BE_WEIGHED, DeliveryState, StudyState
from service.book.tables import CircuitRow, DeliveryRow, StudyRow

_MARGIN_S = 5.0


@dataclass(frozen=True, slots=True)
class LongestAhead:
    """How far ahead of now, in seconds, times can lie while the clock is well.

    Attributes
    ----------
    lease_s, study_s, delivery_s, circuit_s
        End of a lease; a study's due time; a delivery's; a destination's next trial.
    """

    lease_s: float
    study_s: float
    delivery_s: float
    circuit_s: float


def bring_near(engine: Engine, longest: LongestAhead, *, now: datetime) -> int:
    """Bring times beyond what is possible back to the longest that is; return how many rows were changed."""
    changes = _changes(longest, now)
    with reading(engine) as session:
        if not any(
            session.scalars(select(table).where(*where).limit(1)).first() for table, where, _ in changes
        ):
            return 0
    with writing(engine) as session:
        return sum(_update(session, table, where, values) for table, where, values in changes)


def _changes(longest: LongestAhead, now: datetime) -> list[tuple[Any, tuple[Any, ...], dict[str, Any]]]:
    def ahead(seconds: float) -> datetime:
        return now + timedelta(seconds=seconds)

    changes: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []
    receiving = StudyRow.state == StudyState.RECEIVING
    # Notices reckon from these when a study is due.
    changes += [
        (
            StudyRow,
            (receiving, column > ahead(_MARGIN_S)),
            {column.key: now, "arrivals_weighed": TO_BE_WEIGHED},
        )
        for column in (StudyRow.first_received_at_utc, StudyRow.last_received_at_utc)
    ]
    waiting = [StudyState.RECEIVING, StudyState.QUEUED, StudyState.DRAFTED]
    working = [StudyState.READING, StudyState.TELLING]
    for table, idle, busy, due_s in (
        (StudyRow, waiting, working, longest.study_s),
        (DeliveryRow, [DeliveryState.PENDING], [DeliveryState.SENDING], longest.delivery_s),
    ):
        of_idle, of_busy = table.state.in_(idle), table.state.in_(busy)
        either = or_(of_idle, of_busy)
        changes += [
            (table, (either, table.enqueued_at_utc > ahead(_MARGIN_S)), {"enqueued_at_utc": None}),
            (table, (of_idle, table.due_at_utc > ahead(due_s + _MARGIN_S)), {"due_at_utc": ahead(due_s)}),
            (
                table,
                (of_busy, table.lease_until_utc > ahead(longest.lease_s + _MARGIN_S)),
                {"lease_until_utc": ahead(longest.lease_s)},
            ),
        ]
    late = CircuitRow.retry_at_utc > ahead(longest.circuit_s + _MARGIN_S)
    return [*changes, (CircuitRow, (late,), {"retry_at_utc": ahead(longest.circuit_s)})]


def _update(session: Session, table: Any, where: tuple[Any, ...], values: dict[str, Any]) -> int:
    result = session.execute(update(table).where(*where).values(**values))
    return result.rowcount if isinstance(result, CursorResult) else 0
