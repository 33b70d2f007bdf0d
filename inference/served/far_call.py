"""One request to a far server in a thread of its own, which the engine waits for between its steps."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Event, Thread
from typing import Generic, TypeVar

from clinical import Transient

T = TypeVar("T")
_FIRST_DELAY_S = 0.5
_LONGEST_DELAY_S = 15.0


class FarCall(Generic[T]):
    """Runs `call` until it succeeds, is refused, or nobody wants it any more.

    Parameters
    ----------
    call
        Given an event that says when nobody wants it any more; tried again after `Transient` failures for as long as
        it has not handed out anything.
    began
        Whether something was handed out: then an attempt more would say it twice.

    Attributes
    ----------
    future
        Its result.
    """

    def __init__(self, call: Callable[[Event], T], began: Callable[[], bool] = lambda: False) -> None:
        self.future: Future[T] = Future()
        self._call = call
        self._began = began
        self._stop = Event()
        # A daemon: a server that is silent must not keep this process from ending.
        Thread(target=self._run, name="far-call", daemon=True).start()

    def stop(self) -> None:
        """Nobody wants it any more."""
        self._stop.set()

    def _run(self) -> None:
        delay_s = _FIRST_DELAY_S
        while True:
            try:
                self.future.set_result(self._call(self._stop))
                return
            except Transient as error:
                # How long that may go on is the deadline's matter: the engine then stops this call.
                if self._began() or self._stop.wait(delay_s):
                    self.future.set_exception(error)
                    return
                delay_s = min(2 * delay_s, _LONGEST_DELAY_S)
            except BaseException as error:
                self.future.set_exception(error)
                return
