"""What a job asks of the engine between two pieces of its own work.

A job is a generator. What it does between two requests is short; whatever takes time is a request, so that the engine
decides who is served next.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import Future
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeVar

from inference.cache import CacheRow

T = TypeVar("T")


class Priority(IntEnum):
    """Who is served first."""

    STAT = 0
    ROUTINE = 1


@dataclass(frozen=True, slots=True)
class Run:
    """Run something that takes time, alone; answered with its result."""

    work: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Decode:
    """Read one token after what a row of the cache holds; answered with the scores of the next.

    The engine runs everybody's in one step.
    """

    row: CacheRow
    token: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait until `until`, asked with the job's priority between steps, answers something other than None."""

    until: Callable[[Priority], Any | None]


@dataclass(frozen=True, slots=True)
class Await:
    """Wait for what another thread does, such as a far server's answer; answered with its result."""

    future: Future[Any]


@dataclass(frozen=True, slots=True)
class Together:
    """Run several jobs at once; answered with their results in the same order. One that fails ends the others."""

    jobs: tuple[Generator[Request, Any, Any], ...]


# None lets the others go first.
Request = Run | Decode | Wait | Await | Together | None
Steps = Generator[Request, Any, T]
