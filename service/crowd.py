"""Who may be read beside whom: first attempts together, repeated attempts alone.

A study that ends its worker takes the studies in flight with it. If they were retried together, one poison study
could use up its neighbours' attempts; retried alone, it can only use up its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition


class Crowd:
    """A lock that many first attempts share and one repeated attempt holds alone."""

    def __init__(self) -> None:
        self._change = Condition()
        self._sharing = 0
        self._alone = False
        self._waiting_alone = 0

    @contextmanager
    def together(self) -> Iterator[None]:
        """Enter beside others; waits while somebody is, or wants to be, alone."""
        with self._change:
            self._change.wait_for(lambda: not self._alone and not self._waiting_alone)
            self._sharing += 1
        try:
            yield
        finally:
            with self._change:
                self._sharing -= 1
                self._change.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Enter when everybody has left; nobody else enters meanwhile."""
        with self._change:
            self._waiting_alone += 1
            self._change.wait_for(lambda: not self._alone and self._sharing == 0)
            self._waiting_alone -= 1
            self._alone = True
        try:
            yield
        finally:
            with self._change:
                self._alone = False
                self._change.notify_all()
