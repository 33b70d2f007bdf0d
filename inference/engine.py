"""The engine thread: serves every question of every image, one step at a time.

Jobs are generators of requests (`inference.requests`). What takes time is done here, one thing after another: a vision
batch, a chunk of a prompt, or one decode step of all rows that want a token (continuous batching: jobs join and leave
between steps). Whoever has priority is asked first after each of them, so the wait for it is bounded by one;
deadlines, cancellation and failures are seen between them as well.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, MutableSequence, Sequence
from concurrent.futures import Future
from itertools import count
from threading import Condition, Thread
from typing import Any

from clinical import Transient
from inference.job import Job
from inference.requests import Await, Decode, Priority, Run, Steps, Wait
from inference.shortage import is_shortage, refusal

DecodeStep = Callable[[Sequence[Decode]], Sequence[Any]]
# With nothing to run but jobs that wait for a row, the next look is after this long.
_IDLE_S = 0.001
# With nothing to run but what other threads do: they wake the engine, deadlines are looked at this often.
_AWAITING_S = 0.05


class Engine:
    """Runs jobs in one thread of this process.

    Parameters
    ----------
    decode
        Runs one decode step for several rows; answers in their order.
    slots
        Jobs in flight at once; further ones wait, those with priority in front.
    stat_slots
        More jobs in flight that only those with priority may be.
    """

    def __init__(self, decode: DecodeStep | None = None, *, slots: int = 4, stat_slots: int = 1) -> None:
        self._decode = decode
        self._slots = {Priority.ROUTINE: slots, Priority.STAT: slots + stat_slots}
        self._queues: dict[Priority, deque[Job]] = {priority: deque() for priority in Priority}
        self._roots: list[Job] = []
        self._awaited: set[Future[Any]] = set()
        self._served = count()
        self._decoded_last = False
        self._change = Condition()
        self._closed = False
        self._last_step_s = time.monotonic()
        self._thread = Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether there is work, a step that does not end included."""
        return bool(self._roots) or any(self._queues.values())

    @property
    def in_flight(self) -> int:
        """Jobs being served."""
        return len(self._roots)

    @property
    def queued(self) -> int:
        """Jobs that wait for a slot."""
        return sum(map(len, self._queues.values()))

    @property
    def last_step_monotonic_s(self) -> float:
        """When the last step ended, on the monotonic clock: a watchdog's question."""
        return self._last_step_s

    def submit(
        self,
        start: Callable[[], Steps[Any]],
        *,
        deadline_s: float | None = None,
        priority: Priority = Priority.ROUTINE,
    ) -> Future[Any]:
        """Queue a job.

        Parameters
        ----------
        start
            Makes the generator; its return value becomes the future's result. Cancelling the future ends the job
            between two steps.
        deadline_s
            Seconds from now after which the job is dropped with `Transient` ``deadline-passed``.
        """
        deadline = time.monotonic() + (deadline_s if deadline_s is not None else float("inf"))
        job = Job(start, priority, future=Future(), deadline_monotonic_s=deadline)
        with self._change:
            if self._closed:
                raise Transient("engine-closed", "the model is being unloaded")
            if not self.busy:
                # An idle engine has not stalled: the watchdog's clock starts with the work.
                self._last_step_s = time.monotonic()
            self._queues[priority].append(job)
            self._change.notify()
        assert job.future is not None
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
                self._drop_ended()
                self._admit()
            if self._roots:
                self._turn()
        closed = Transient("engine-closed", "the model is being unloaded")
        for job in (*self._roots, *(job for queue in self._queues.values() for job in queue)):
            job.fail(closed)
        self._roots = []

    def _admit(self) -> None:
        for priority, queue in self._queues.items():
            while queue and len(self._roots) < self._slots[priority]:
                job = queue.popleft()
                job.served = next(self._served)
                self._roots.append(job)

    def _drop_ended(self) -> None:
        """End what is late or cancelled, waiting or in flight; forget what has ended."""
        now = time.monotonic()
        everybody: tuple[MutableSequence[Job], ...] = (self._roots, *self._queues.values())
        for jobs in everybody:
            for job in tuple(jobs):
                if job.ended or job.unwanted(now):
                    job.fail(
                        Transient(
                            "deadline-passed", "the reading took longer than model.read_timeout_s allows"
                        )
                    )
                    jobs.remove(job)

    def _turn(self) -> None:
        """Do one thing that takes time, the most urgent."""
        leaves = [leaf for root in self._roots for leaf in root.leaves()]
        leaves.sort(key=_first_served)
        decodes: list[Job] = []
        others: list[Job] = []
        awaiting = False
        for job in leaves:
            request = job.request
            if isinstance(request, Decode):
                decodes.append(job)
            elif request is None or isinstance(request, Run):
                others.append(job)
            elif isinstance(request, Wait) and self._end_wait(job, request):
                return
            elif isinstance(request, Await):
                if self._end_await(job, request):
                    return
                awaiting = True
        if any(jobs and jobs[0].priority is Priority.STAT for jobs in (decodes, others)):
            # The others' decode steps ride along with theirs; the others' prompts and images wait.
            others = [job for job in others if job.priority is Priority.STAT]
        urgent = bool(others) and others[0].priority is Priority.STAT
        if others and (urgent or self._decoded_last or not decodes):
            self._decoded_last = False
            self._serve(others[0])
        elif decodes:
            self._decoded_last = True
            self._serve_decodes(decodes)
        elif awaiting:
            with self._change:
                self._change.wait(_AWAITING_S)
        else:
            time.sleep(_IDLE_S)
            return
        self._last_step_s = time.monotonic()

    def _end_await(self, job: Job, request: Await) -> bool:
        """Answer with what another thread did if it is done; True if it was."""
        future = request.future
        if not future.done():
            if future not in self._awaited:
                self._awaited.add(future)
                future.add_done_callback(self._wake)
            return False
        error = future.exception()
        if error is not None:
            job.throw(error)
        else:
            job.send(future.result())
        return True

    def _wake(self, future: Future[Any]) -> None:
        self._awaited.discard(future)
        with self._change:
            self._change.notify()

    def _end_wait(self, job: Job, wait: Wait) -> bool:
        """Answer a wait if that is possible now; True if it was."""
        try:
            found = wait.until(job.priority)
        except Exception as error:
            job.throw(error)
            return True
        if found is not None:
            job.send(found)
        return found is not None

    def _serve(self, job: Job) -> None:
        job.served = next(self._served)
        if not isinstance(job.request, Run):
            job.send(None)
            return
        try:
            result = job.request.work()
        except Exception as error:
            job.throw(refusal() if is_shortage(error) else error)
        else:
            job.send(result)

    def _serve_decodes(self, jobs: Sequence[Job]) -> None:
        """One decode step; where it fails, each half by itself, so that only who is at fault or too much fails."""
        assert self._decode is not None
        try:
            answers = self._decode([job.request for job in jobs if isinstance(job.request, Decode)])
        except Exception as error:
            if len(jobs) == 1:
                jobs[0].throw(refusal() if is_shortage(error) else error)
                return
            middle = len(jobs) // 2
            for half in (jobs[:middle], jobs[middle:]):
                self._serve_decodes([job for job in half if not job.ended])
            return
        for job, answer in zip(jobs, answers, strict=True):
            job.send(answer)


def _first_served(job: Job) -> tuple[int, int]:
    return job.priority, job.served
