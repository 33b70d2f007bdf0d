"""A circuit breaker for each destination, shared by every worker, and an operator's hold on one.

A destination that fails `failures_max` times in a row is left alone for a while that doubles with every further
failure; then one delivery tries it, and its success lets the others follow at once. Deliveries that wait for a circuit
are not attempted, so that nothing waits out a dead peer's timeouts again and again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session

from service.book.audit import Action, AuditEvent, Subject, note
from service.book.database import one_at_a_time, reading, writing
from service.book.states import DeliveryState
from service.book.tables import CircuitRow, DeliveryRow

_DOUBLINGS_MAX = 20


@dataclass(frozen=True, slots=True)
class CircuitRule:
    """When a destination is left alone, and for how long.

    Attributes
    ----------
    failures_max
        Failures in a row after which the circuit opens.
    first_pause_s, longest_pause_s
        The pause doubles from the first to the longest.
    """

    failures_max: int = 5
    first_pause_s: float = 5.0
    longest_pause_s: float = 300.0

    def pause(self, failures: int) -> timedelta | None:
        """How long a destination is left alone after so many failures in a row; None: not at all."""
        beyond = failures - self.failures_max
        if beyond < 0:
            return None
        return timedelta(
            seconds=min(self.longest_pause_s, self.first_pause_s * 2.0 ** min(beyond, _DOUBLINGS_MAX))
        )


@dataclass(frozen=True, slots=True)
class Circuit:
    """How a destination stands.

    Attributes
    ----------
    retry_at_utc
        When it is tried again; None where it is not left alone.
    """

    destination: str
    held: bool
    failures: int
    failing_since_utc: datetime | None
    retry_at_utc: datetime | None
    reason_code: str

    @property
    def state(self) -> str:
        """``held``, ``open`` (left alone), ``failing`` or ``closed`` (well)."""
        if self.held:
            return "held"
        if self.retry_at_utc is not None:
            return "open"
        return "failing" if self.failures else "closed"


def circuits(engine: Engine) -> list[Circuit]:
    """Every destination that has failed or was held at some time."""
    with reading(engine) as session:
        rows = session.scalars(select(CircuitRow).order_by(CircuitRow.destination))
        return [
            Circuit(
                row.destination,
                row.held,
                row.failures,
                row.failing_since_utc,
                row.retry_at_utc,
                row.reason_code,
            )
            for row in rows
        ]


def shut(session: Session, now: datetime) -> list[str]:
    """Destinations nothing is sent to at this moment."""
    rows = session.scalars(select(CircuitRow))
    return [
        row.destination
        for row in rows
        if row.held or (row.retry_at_utc is not None and row.retry_at_utc > now)
    ]


def on_trial(session: Session, now: datetime) -> list[str]:
    """Destinations whose pause is over: one delivery may try each."""
    rows = session.scalars(select(CircuitRow))
    return [
        row.destination
        for row in rows
        if not row.held and row.retry_at_utc is not None and row.retry_at_utc <= now
    ]


def admit(session: Session, destination: str, *, trial_s: float, now: datetime) -> bool:
    """Whether a delivery may be attempted now; the one admitted on trial keeps the others away for `trial_s`."""
    row = session.get(CircuitRow, destination, with_for_update=True)
    if row is None or (not row.held and row.retry_at_utc is None):
        return True
    if row.held or row.retry_at_utc is None or row.retry_at_utc > now:
        return False
    row.retry_at_utc = now + timedelta(seconds=trial_s)
    return True


def note_success(session: Session, destination: str, now: datetime) -> None:
    """The destination answers: its circuit closes, and what waited for it is due at once."""
    row = session.get(CircuitRow, destination)
    if row is None or not row.failures:
        return
    if row.retry_at_utc is not None:
        session.execute(
            update(DeliveryRow)
            .where(
                DeliveryRow.destination == destination,
                DeliveryRow.state == DeliveryState.PENDING,
                DeliveryRow.due_at_utc > now,
            )
            .values(due_at_utc=now, enqueued_at_utc=None)
        )
    row.failures, row.failing_since_utc, row.retry_at_utc, row.reason_code = 0, None, None, ""


def note_failure(session: Session, destination: str, code: str, rule: CircuitRule, now: datetime) -> None:
    """The destination did not take something, for a reason of its own."""
    row = _row(session, destination)
    row.failures += 1
    row.failing_since_utc = row.failing_since_utc or now
    row.reason_code = code
    pause = rule.pause(row.failures)
    row.retry_at_utc = now + pause if pause is not None else None


def hold_destination(engine: Engine, destination: str, held: bool, *, actor: str, now: datetime) -> None:
    """Send nothing to a destination until it is released; a release also forgets its failures."""
    with writing(engine) as session:
        row = _row(session, destination)
        row.held = held
        if not held:
            row.failures, row.failing_since_utc, row.retry_at_utc, row.reason_code = 0, None, None, ""
        action = Action.HOLD if held else Action.RELEASE
        note(session, AuditEvent(action, actor, Subject.DESTINATION, detail=destination), now)


def _row(session: Session, destination: str) -> CircuitRow:
    row = session.get(CircuitRow, destination, with_for_update=True)
    if row is None:
        one_at_a_time(session, f"circuit/{destination}")
        row = session.get(CircuitRow, destination, with_for_update=True)
    if row is None:
        row = CircuitRow(destination=destination, held=False, failures=0)
        session.add(row)
        session.flush()
    return row
