"""The engine thread: runs every question of every image, one step of each in turn.

A job is a generator that yields after each step. One thread runs them round robin, so several images are in flight,
nobody waits for a whole report of somebody else, and a deadline is enforced between any two steps.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Condition, Thread
from typing import Any

from clinical import Transient

Steps = Generator[None, None, Any]


@dataclass(slots=True)
class _Job:
    start: Callable[[], Steps]
    future: Future[Any]
    deadline_monotonic_s: float
    steps: Steps | None = field(default=None)


class Engine:
    """Runs jobs step by step in one thread of this process.

    Parameters
    ----------
    slots
        Jobs in flight at once; further ones wait in the order of arrival. Bounds the memory of the caches.
    """

    def __init__(self, *, slots: int = 4) -> None:
        self._slots = slots
        self._waiting: deque[_Job] = deque()
        self._active: deque[_Job] = deque()
        self._running: _Job | None = None
        self._change = Condition()
        self._closed = False
        self._last_step_s = time.monotonic()
        self._thread = Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether there is work, a step that does not end included."""
        return bool(self._running or self._active or self._waiting)

    @property
    def last_step_monotonic_s(self) -> float:
        """When the last step ended, on the monotonic clock: a watchdog's question."""
        return self._last_step_s

    def submit(self, start: Callable[[], Steps], *, deadline_s: float | None = None) -> Future[Any]:
        """Queue a job.

        Parameters
        ----------
        start
            Makes the generator; its return value becomes the future's result.
        deadline_s
            Seconds from now after which the job is dropped with `Transient` ``deadline-passed``.
        """
        deadline = time.monotonic() + (deadline_s if deadline_s is not None else float("inf"))
        job = _Job(start, Future(), deadline)
        with self._change:
            if self._closed:
                raise Transient("engine-closed", "the model is being unloaded")
            if not self.busy:
                # An idle engine has not stalled: the watchdog's clock starts with the work.
                self._last_step_s = time.monotonic()
            self._waiting.append(job)
            self._change.notify()
        return job.future

    def close(self) -> None:
        """Drop what waits, end what runs, end the thread."""
        with self._change:
            self._closed = True
            self._change.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._closed or self.busy)
                if self._closed:
                    break
                while self._waiting and len(self._active) < self._slots:
                    self._active.append(self._waiting.popleft())
                self._running = job = self._active.popleft()
            ended = self._step(job)
            with self._change:
                self._running = None
                if not ended:
                    self._active.append(job)
        for job in (*self._active, *self._waiting):
            job.future.set_exception(Transient("engine-closed", "the model is being unloaded"))

    def _step(self, job: _Job) -> bool:
        """Run one step; True if the job has ended."""
        try:
            if time.monotonic() > job.deadline_monotonic_s:
                raise Transient("deadline-passed", "the reading took longer than model.read_timeout_s allows")
            if job.steps is None:
                if not job.future.set_running_or_notify_cancel():
                    return True
                job.steps = job.start()
            next(job.steps)
        except StopIteration as end:
            job.future.set_result(end.value)
            return True
        except BaseException as error:
            if job.steps is not None:
                job.steps.close()
            job.future.set_exception(error)
            return True
        finally:
            self._last_step_s = time.monotonic()
        return False
