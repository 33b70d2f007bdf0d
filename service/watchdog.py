"""Ends a worker whose engine stands still."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from threading import Event, Thread

import structlog

from inference import Model

_log = structlog.get_logger(__name__)

# Exit status of a worker that ended itself because its engine stood still (sysexits: EX_SOFTWARE).
STALLED_EXIT_STATUS = 70


class EngineWatchdog:
    """Ends this process when the engine has work and makes no step for `stall_s`.

    A thread that hangs inside a native library cannot be stopped; its process can. The leases it held run out, the
    supervisor starts a new worker, and studies that were in flight are read again, each alone.

    Parameters
    ----------
    models
        Tells whose engines to watch.
    """

    def __init__(self, models: Callable[[], Iterable[Model]], *, stall_s: float) -> None:
        self._models = models
        self._stall_s = stall_s
        self._stop = Event()
        self._thread = Thread(target=self._run, name="engine-watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End the watch."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(min(1.0, self._stall_s / 4)):
            for model in self._models():
                engine = model.engine
                idle_s = time.monotonic() - engine.last_step_monotonic_s
                if engine.busy and idle_s > self._stall_s:
                    _log.error("engine_stalled", idle_s=round(idle_s, 1), stall_s=self._stall_s)
                    os._exit(STALLED_EXIT_STATUS)
