"""A Celery worker of RadDraft: a thread pool whose tasks work on rows of the account book.

Threads, not forks: one process holds the model once, its engine thread batches what the pool's threads ask, and no
ONNX session ever crosses a fork.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from celery import Celery
from celery.signals import worker_ready

from service.queues import COMPARE_INSTANCE, DELIVER, GPU_QUEUE, IO_QUEUE, READ_STUDY, TELL_STUDY

if TYPE_CHECKING:
    from service.comparing_task import ComparingDesk
    from service.delivery_roads import DeliveryRoads
    from service.reading_task import ReadingDesk
    from service.telling_task import TellingDesk


def register_reading(app: Celery, desk: ReadingDesk) -> None:
    """Give the ``gpu`` queue's task to this worker."""
    _register(app, READ_STUDY, desk.read)


def register_io(
    app: Celery, telling: TellingDesk, delivering: DeliveryRoads, comparing: ComparingDesk
) -> None:
    """Give the ``io`` queue's tasks to this worker."""
    _register(app, TELL_STUDY, telling.tell)
    _register(app, DELIVER, delivering.put)
    _register(app, COMPARE_INSTANCE, comparing.compare)


def when_ready(act: Callable[[], object]) -> None:
    """Do something in the main thread when the worker's loop has begun."""
    # Not weak: nobody else holds the receiver.
    worker_ready.connect(lambda **_: act(), weak=False)


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
            # First: without Celery's banner, each line of the log is an event.
            "--quiet",
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
