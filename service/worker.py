"""A Celery worker of RadDraft: a thread pool whose tasks work on rows of the account book.

Threads, not forks: one process holds the model once, its engine thread batches what the pool's threads ask, and no
ONNX session ever crosses a fork.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from threading import Event, Thread

import structlog
from celery import Celery

from inference import Model
from service.book import Book
from service.comparing_task import ComparingDesk
from service.delivery_task import DeliveryDesk
from service.queues import COMPARE_INSTANCE, DELIVER, GPU_QUEUE, IO_QUEUE, READ_STUDY, TELL_STUDY
from service.reading_task import ReadingDesk
from service.role_process import SignsOfLife
from service.telling_task import TellingDesk

_log = structlog.get_logger(__name__)

# Exit status of a worker that ended itself because its engine stood still (sysexits: EX_SOFTWARE).
STALLED_EXIT_STATUS = 70


def register_reading(app: Celery, desk: ReadingDesk) -> None:
    """Give the ``gpu`` queue's task to this worker."""
    _register(app, READ_STUDY, desk.read)


def register_io(
    app: Celery, telling: TellingDesk, delivering: DeliveryDesk, comparing: ComparingDesk
) -> None:
    """Give the ``io`` queue's tasks to this worker."""
    _register(app, TELL_STUDY, telling.tell)
    _register(app, DELIVER, delivering.deliver)
    _register(app, COMPARE_INSTANCE, comparing.compare)


def _register(app: Celery, name: str, work: Callable[[int], None]) -> None:
    def task(row_id: int) -> None:
        work(row_id)

    app.task(name=name)(task)


def run_worker_loop(app: Celery, queues: Sequence[str], *, concurrency: int, name: str) -> None:
    """Take messages until SIGTERM; tasks under way are finished first."""
    unknown = set(queues) - {GPU_QUEUE, IO_QUEUE}
    if unknown:
        raise ValueError(f"unknown queues: {', '.join(sorted(unknown))}")
    app.worker_main(
        [
            "worker",
            f"--queues={','.join(queues)}",
            "--pool=threads",
            f"--concurrency={concurrency}",
            f"--hostname={name}@%h",
            "--loglevel=WARNING",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
        ]
    )


class EngineWatchdog:
    """Ends this process when the engine has work and makes no step for `stall_s`.

    A thread that hangs inside a native library cannot be stopped; its process can. The leases it held run out, the
    supervisor starts a new worker, and studies that were in flight are read again, each alone.
    """

    def __init__(self, model: Model, *, stall_s: float) -> None:
        self._model = model
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
            engine = self._model.engine
            idle_s = time.monotonic() - engine.last_step_monotonic_s
            if engine.busy and idle_s > self._stall_s:
                _log.error("engine_stalled", idle_s=round(idle_s, 1), stall_s=self._stall_s)
                os._exit(STALLED_EXIT_STATUS)


def role_signs(book: Book, name: str) -> SignsOfLife:
    """Signs of life of a worker that is ready as soon as it gives them."""
    return SignsOfLife(book.engine, name, lambda: (True, "ready"))
