"""A job of the engine, and the jobs it runs at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

from inference.requests import Priority, Request, Steps, Together


class Job:
    """A generator, what it asks for, and who waits for its result.

    Attributes
    ----------
    request
        What it asks for now; None asks for nothing but its next turn.
    served
        Number of its last turn: the smallest is served first.
    ended
        Whether it has returned or failed.
    """

    def __init__(
        self,
        start: Callable[[], Steps[Any]],
        priority: Priority,
        *,
        future: Future[Any] | None = None,
        parent: Job | None = None,
        deadline_monotonic_s: float = float("inf"),
    ) -> None:
        self.priority = priority
        self.future = future
        self.request: Request = None
        self.served: int = parent.served if parent else 0
        self.ended = False
        self._start = start
        self._steps: Steps[Any] | None = None
        self._parent = parent
        self._deadline_s = deadline_monotonic_s
        self._children: list[Job] = []
        self._result: Any = None

    def leaves(self) -> Iterator[Job]:
        """The jobs below, or itself, that ask for something."""
        if self._children:
            for child in self._children:
                yield from child.leaves()
        elif not self.ended:
            yield self

    def unwanted(self, now_monotonic_s: float) -> bool:
        """Whether its deadline has passed or nobody waits for it any more."""
        return now_monotonic_s > self._deadline_s or (self.future is not None and self.future.cancelled())

    def send(self, answer: Any) -> None:
        """Answer its request and take the next."""
        self._resume(lambda steps: steps.send(answer))

    def throw(self, error: BaseException) -> None:
        """Answer its request with a failure."""
        self._resume(lambda steps: steps.throw(error))

    def fail(self, error: BaseException) -> None:
        """End it and everything below it, at once."""
        if self.ended:
            return
        self._close()
        self._tell(lambda future: future.set_exception(error))

    def _resume(self, step: Callable[[Steps[Any]], Request]) -> None:
        if self.ended:
            return
        try:
            if self._steps is None:
                self._steps = self._start()
            self.request = step(self._steps)
        except StopIteration as end:
            self.ended, self._result = True, end.value
            self._tell(lambda future: future.set_result(self._result))
            if self._parent is not None:
                self._parent._child_returned()
        except BaseException as error:
            failure = error
            self.ended = True
            self._tell(lambda future: future.set_exception(failure))
            if self._parent is not None:
                self._parent._child_failed(error)
        else:
            self._spawn()

    def _spawn(self) -> None:
        if not isinstance(self.request, Together):
            return
        if not self.request.jobs:
            self.send([])
            return
        self._children = [Job(_starts(steps), self.priority, parent=self) for steps in self.request.jobs]

    def _child_returned(self) -> None:
        if all(child.ended for child in self._children):
            results = [child._result for child in self._children]
            self._children = []
            self.send(results)

    def _child_failed(self, error: BaseException) -> None:
        children, self._children = self._children, []
        for child in children:
            child._close()
        self.throw(error)

    def _close(self) -> None:
        self.ended = True
        for child in self._children:
            child._close()
        self._children = []
        if self._steps is not None:
            self._steps.close()

    def _tell(self, how: Callable[[Future[Any]], None]) -> None:
        # A cancelled future takes no result.
        if self.future is not None and self.future.set_running_or_notify_cancel():
            how(self.future)


def _starts(steps: Steps[Any]) -> Callable[[], Steps[Any]]:
    return lambda: steps
