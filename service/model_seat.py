"""The model a reading worker works with, which may be exchanged between two studies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

import structlog

from inference import Model
from service.study_reading import ReadingTerms

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Seated:
    """A loaded model and the terms its readings are done under."""

    model: Model
    terms: ReadingTerms


class ModelSeat:
    """Lends the present model; one that was exchanged is closed when its last user has left."""

    def __init__(self, seated: Seated) -> None:
        self._lock = Lock()
        self._current = seated
        self._users: dict[Seated, int] = {seated: 0}

    @property
    def current(self) -> Seated:
        """What the next study is read with."""
        return self._current

    @property
    def models(self) -> tuple[Model, ...]:
        """The present model and those that still read."""
        with self._lock:
            return tuple(seated.model for seated in self._users)

    @contextmanager
    def using(self) -> Iterator[Seated]:
        """The present model for one study, from beginning to end."""
        with self._lock:
            seated = self._current
            self._users[seated] += 1
        try:
            yield seated
        finally:
            self._leave(seated)

    def change(self, seated: Seated) -> None:
        """Read the next study with another model; studies under way end with the one they began with."""
        with self._lock:
            old, self._current = self._current, seated
            self._users[seated] = 0
            self._users[old] += 1
        self._leave(old)

    def close(self) -> None:
        """Close the present model."""
        self._current.model.close()

    def _leave(self, seated: Seated) -> None:
        with self._lock:
            self._users[seated] -= 1
            done = seated is not self._current and self._users[seated] == 0
            if done:
                del self._users[seated]
        if done:
            seated.model.close()
            _log.info(
                "model_unloaded", model=seated.model.identity.name, version=seated.model.identity.version
            )
