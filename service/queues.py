"""Celery as RadDraft uses it: messages are hints that carry row ids, nothing else."""

from __future__ import annotations

from collections.abc import Callable

from celery import Celery
from kombu.entity import Queue
from kombu.exceptions import ChannelError, OperationalError

from clinical import RadDraftError, Transient
from service.book.states import StudyState

GPU_QUEUE = "gpu"
IO_QUEUE = "io"
READ_STUDY = "raddraft.read_study"
TELL_STUDY = "raddraft.tell_study"
DELIVER = "raddraft.deliver"
COMPARE_INSTANCE = "raddraft.compare_instance"

_TASK_QUEUES = {READ_STUDY: GPU_QUEUE, TELL_STUDY: IO_QUEUE, DELIVER: IO_QUEUE, COMPARE_INSTANCE: IO_QUEUE}
# A message nobody acknowledged comes back after this time (Redis). The sweeper is faster; a second hint does no harm.
_VISIBILITY_TIMEOUT_S = 3600


def make_celery(broker_url: str) -> Celery:
    """Celery application on `broker_url`, without a result backend: results are rows of the account book."""
    app = Celery("raddraft", broker=broker_url)
    app.conf.update(
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        task_queues=[Queue(name) for name in (GPU_QUEUE, IO_QUEUE)],  # type: ignore[no-untyped-call]
        task_routes={name: {"queue": queue} for name, queue in _TASK_QUEUES.items()},
        task_create_missing_queues=False,
        broker_connection_retry_on_startup=True,
        broker_transport_options={"visibility_timeout": _VISIBILITY_TIMEOUT_S, "socket_timeout": 10},
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        enable_utc=True,
    )
    return app


class Hints:
    """Tells workers that a row has something to do.

    Parameters
    ----------
    app
        From `make_celery`.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app

    def study(self, study_id: int, state: StudyState) -> None:
        """A study waits to be read or told."""
        reading = state in (StudyState.QUEUED, StudyState.READING)
        self._send(READ_STUDY if reading else TELL_STUDY, study_id)

    def delivery(self, delivery_id: int) -> None:
        """A delivery is due."""
        self._send(DELIVER, delivery_id)

    def comparison(self, instance_id: int) -> None:
        """An instance waits to be compared with its older namesake."""
        self._send(COMPARE_INSTANCE, instance_id)

    def waiting(self, queue: str) -> int:
        """How many messages wait in `queue` for a worker; those a worker holds are not among them.

        Raises
        ------
        Transient
            `broker-away`.
        """
        with self._app.connection_or_acquire() as connection:
            try:
                with connection.channel() as channel:
                    return int(channel.queue_declare(queue, passive=True).message_count)
            except ChannelError:  # A queue without a message is not there (Redis).
                return 0
            except connection.connection_errors as error:
                raise _away() from error

    def _send(self, task: str, row_id: int) -> None:
        try:
            self._app.send_task(task, args=[row_id], retry=False)
        except (OperationalError, OSError) as error:
            raise _away() from error


def _away() -> Transient:
    return Transient("broker-away", "the message broker did not answer; the sweeper tries again")


def quietly(hint: Callable[[int], None]) -> Callable[[int], None]:
    """A hint that may be lost: the row is committed already, and the sweeper finds it."""

    def give(row_id: int) -> None:
        try:
            hint(row_id)
        except RadDraftError:
            return

    return give
