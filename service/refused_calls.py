"""Refused calls: counted for the metrics, and in the audit log. Written now and then, so that a flood costs little."""

from __future__ import annotations

from collections import Counter
from threading import Event, Lock, Thread

import structlog
from sqlalchemy import Engine

from clinical import Transient
from dicom_node import RefusedCall
from service.book.audit import Action, AuditEvent, ae_actor
from service.book.refusals import note_refusals
from service.clock import now_utc

_log = structlog.get_logger(__name__)

_EVERY_S = 2.0
# Different callers in one interval that are told apart; what is beyond is written as one entry.
_CALLERS_MAX = 100


class RefusedCalls:
    """Collects what a listener refuses and writes it every two seconds, equal calls as one audit entry."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = Lock()
        self._calls: Counter[tuple[str, str]] = Counter()
        self._stop = Event()
        self._thread = Thread(target=self._run, name="refused-calls", daemon=True)

    def note(self, call: RefusedCall) -> None:
        """One call was refused."""
        caller = (call.refusal.value, ae_actor(call.calling_ae_title, call.address))
        with self._lock:
            if caller not in self._calls and len(self._calls) >= _CALLERS_MAX:
                caller = (call.refusal.value, "ae:many")
            self._calls[caller] += 1

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """Write what is left, and end."""
        self._stop.set()
        self._thread.join()
        self.write()

    def _run(self) -> None:
        while not self._stop.wait(_EVERY_S):
            self.write()

    def write(self) -> None:
        """Write what has been noted; kept for the next time if the book does not answer."""
        with self._lock:
            calls, self._calls = self._calls, Counter()
        if not calls:
            return
        events = [
            AuditEvent(Action.REFUSE, actor, outcome=refusal, detail=f"{number} calls" if number > 1 else "")
            for (refusal, actor), number in calls.items()
        ]
        numbers: Counter[str] = Counter()
        for (refusal, _), number in calls.items():
            numbers[refusal] += number
        try:
            note_refusals(self._engine, numbers, events, now=now_utc())
        except Transient as error:
            _log.warning("refused_calls_not_written", code=error.code)
            with self._lock:
                self._calls.update(calls)
