"""Group commit: receipts of several associations in one transaction, so that they share its flush to disk."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from threading import Lock

from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from service.book.receipts import Arrival, QuietRule, commit_arrival, commit_arrivals

_TOGETHER_MAX = 64


@dataclass(slots=True)
class _Waiting:
    arrival: Arrival
    key: str = ""
    failure: Exception | None = None
    is_done: bool = False


class GroupCommit:
    """Commits arrivals; those that come while a commit is under way are committed together by the next.

    No thread of its own and no delay: whoever comes to an idle book commits at once, alone.
    """

    def __init__(self, engine: Engine, rule: QuietRule) -> None:
        self._engine = engine
        self._rule = rule
        self._waiting: deque[_Waiting] = deque()
        self._committing = Lock()

    def commit(self, arrival: Arrival) -> str:
        """Commit one arrival; return the spool key the book keeps.

        Raises
        ------
        Transient
            If the database cannot be written; then nothing of this arrival was committed.
        """
        mine = _Waiting(arrival)
        self._waiting.append(mine)
        while not mine.is_done:
            with self._committing:
                if not mine.is_done:
                    self._commit_waiting()
        if mine.failure is not None:
            raise mine.failure
        return mine.key

    def _commit_waiting(self) -> None:
        group = [self._waiting.popleft() for _ in range(min(len(self._waiting), _TOGETHER_MAX))]
        try:
            keys = commit_arrivals(self._engine, [each.arrival for each in group], self._rule)
        except IntegrityError:
            # Another process was quicker with one of them: each for itself.
            for each in group:
                self._commit_alone(each)
        except Exception as error:
            for each in group:
                each.failure, each.is_done = error, True
        else:
            for each, key in zip(group, keys, strict=True):
                each.key, each.is_done = key, True

    def _commit_alone(self, each: _Waiting) -> None:
        try:
            each.key = commit_arrival(self._engine, each.arrival, self._rule)
        except Exception as error:
            each.failure = error
        each.is_done = True
