"""Leases kept alive while their worker lives, and freed at once when it is known to be dead."""

from __future__ import annotations

from datetime import datetime, timedelta
from threading import Event, Lock, Thread

from sqlalchemy import CursorResult, Engine, update

from clinical import RadDraftError
from service.book.database import writing
from service.book.outbox import DeliveryLease
from service.book.states import DeliveryState, StudyState
from service.book.tables import DeliveryRow, StudyRow
from service.book.walk import Lease
from service.clock import now_utc


def renew(engine: Engine, lease: Lease | DeliveryLease, *, lease_s: float, now: datetime) -> bool:
    """Prolong a lease; False if it is no longer ours."""
    until = now + timedelta(seconds=lease_s)
    if isinstance(lease, Lease):
        change = (
            update(StudyRow)
            .where(
                StudyRow.id == lease.study_id, StudyRow.fence == lease.fence, StudyRow.state == lease.state
            )
            .values(lease_until_utc=until)
        )
    else:
        change = (
            update(DeliveryRow)
            .where(
                DeliveryRow.id == lease.delivery_id,
                DeliveryRow.fence == lease.fence,
                DeliveryRow.state == DeliveryState.SENDING,
            )
            .values(lease_until_utc=until)
        )
    with writing(engine) as session:
        result = session.execute(change)
        return isinstance(result, CursorResult) and result.rowcount == 1


def free_leases(engine: Engine, owner_prefix: str, *, now: datetime) -> int:
    """End every lease of an owner known to be dead, so that the sweeper hands its work on at once."""
    freed = 0
    with writing(engine) as session:
        for table, states in (
            (StudyRow, [StudyState.READING, StudyState.TELLING]),
            (DeliveryRow, [DeliveryState.SENDING]),
        ):
            result = session.execute(
                update(table)
                .where(table.lease_owner.startswith(owner_prefix, autoescape=True), table.state.in_(states))
                .values(lease_until_utc=now, enqueued_at_utc=None)
            )
            freed += result.rowcount if isinstance(result, CursorResult) else 0
    return freed


class LeaseKeeper:
    """A thread that renews the leases its worker holds, every third of their length.

    A worker that is paused or dead renews nothing; its leases run out and its late changes carry a stale fence.
    """

    def __init__(self, engine: Engine, *, lease_s: float) -> None:
        self._engine = engine
        self.lease_s = lease_s
        self._held: dict[int, Lease | DeliveryLease] = {}
        self._lock = Lock()
        self._stop = Event()
        self._thread = Thread(target=self._run, name="lease-keeper", daemon=True)

    def start(self) -> None:
        """Begin renewing."""
        self._thread.start()

    def stop(self) -> None:
        """Stop renewing; returns when the thread has ended."""
        self._stop.set()
        self._thread.join()

    def hold(self, lease: Lease | DeliveryLease) -> None:
        """Renew this lease until `drop`."""
        with self._lock:
            self._held[id(lease)] = lease

    def drop(self, lease: Lease | DeliveryLease) -> None:
        """Renew this lease no more."""
        with self._lock:
            self._held.pop(id(lease), None)

    def _run(self) -> None:
        while not self._stop.wait(self.lease_s / 3):
            with self._lock:
                held = list(self._held.values())
            for lease in held:
                try:
                    if not renew(self._engine, lease, lease_s=self.lease_s, now=now_utc()):
                        self.drop(lease)
                except RadDraftError:
                    break  # the book did not answer; the next round tries again before the leases run out
