"""The engine thread: turns, deadlines, and what a watchdog may rely on."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from concurrent.futures import Future
from functools import partial
from threading import Event
from typing import Any

import pytest

from clinical import Permanent, Transient
from inference.engine import Engine
from inference.requests import Await, Steps

_PATIENCE_S = 30.0


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine(slots=2)
    yield engine
    engine.close()


def _counting(name: str, steps: int, seen: list[str]) -> Generator[None, None, str]:
    for _ in range(steps):
        seen.append(name)
        yield
    return name


def _held(started: Event, release: Event) -> Generator[None, None, None]:
    started.set()
    release.wait(_PATIENCE_S)
    yield


def test_jobs_take_turns_step_by_step(engine: Engine) -> None:
    started, release = Event(), Event()
    held = engine.submit(lambda: _held(started, release))
    assert started.wait(_PATIENCE_S)
    seen: list[str] = []
    jobs = [engine.submit(partial(_counting, name, 3, seen)) for name in "ab"]
    release.set()
    assert [job.result(_PATIENCE_S) for job in (held, *jobs)] == [None, "a", "b"]
    assert "".join(seen) == "ababab"


def test_a_deadline_is_kept_between_steps_and_hurts_nobody_else(engine: Engine) -> None:
    def endless() -> Steps[None]:
        while True:
            time.sleep(0.005)
            yield None

    late = engine.submit(endless, deadline_s=0.1)
    seen: list[str] = []
    other = engine.submit(lambda: _counting("other", 50, seen))
    with pytest.raises(Transient, match="deadline-passed"):
        late.result(_PATIENCE_S)
    assert other.result(_PATIENCE_S) == "other"


def test_a_failing_job_fails_alone(engine: Engine) -> None:
    def failing() -> Steps[None]:
        yield None
        raise Permanent("broken", "it broke")

    failed = engine.submit(failing)
    seen: list[str] = []
    other = engine.submit(lambda: _counting("other", 5, seen))
    with pytest.raises(Permanent, match="broken"):
        failed.result(_PATIENCE_S)
    assert other.result(_PATIENCE_S) == "other"


def test_a_step_that_hangs_shows_as_busy_and_standing_still(engine: Engine) -> None:
    started, release = Event(), Event()
    job = engine.submit(lambda: _held(started, release))
    assert started.wait(_PATIENCE_S)
    before = engine.last_step_monotonic_s
    time.sleep(0.05)
    assert engine.busy
    assert engine.last_step_monotonic_s == before
    release.set()
    job.result(_PATIENCE_S)
    assert engine.last_step_monotonic_s > before


def test_an_idle_engine_is_not_busy_and_new_work_starts_the_clock(engine: Engine) -> None:
    engine.submit(lambda: _counting("a", 1, [])).result(_PATIENCE_S)
    while engine.busy:
        time.sleep(0.001)
    before = time.monotonic()
    engine.submit(lambda: _counting("b", 1, [])).result(_PATIENCE_S)
    assert engine.last_step_monotonic_s >= before


def test_a_closed_engine_refuses_and_ends_what_waited() -> None:
    engine = Engine(slots=1)
    started, release = Event(), Event()
    engine.submit(lambda: _held(started, release))
    assert started.wait(_PATIENCE_S)
    waiting: Any = engine.submit(lambda: _counting("never", 1, []))
    release.set()
    engine.close()
    assert waiting.done()
    with pytest.raises(Transient, match="engine-closed"):
        engine.submit(lambda: _counting("late", 1, []))


def test_what_another_thread_does_is_waited_for_without_standing_still(engine: Engine) -> None:
    far: Future[str] = Future()

    def asking() -> Steps[str]:
        return f"heard {(yield Await(far))}"

    job = engine.submit(asking)
    seen: list[str] = []
    assert engine.submit(lambda: _counting("other", 3, seen)).result(_PATIENCE_S) == "other"
    before = engine.last_step_monotonic_s
    while engine.last_step_monotonic_s == before:
        time.sleep(0.01)
    assert engine.busy and not job.done()
    far.set_result("it")
    assert job.result(_PATIENCE_S) == "heard it"


def test_a_failure_of_another_thread_arrives_and_a_deadline_does_not_wait_for_it(engine: Engine) -> None:
    broken: Future[None] = Future()
    never: Future[None] = Future()

    def asking(future: Future[None]) -> Steps[None]:
        yield Await(future)

    first = engine.submit(lambda: asking(broken))
    late = engine.submit(lambda: asking(never), deadline_s=0.05)
    broken.set_exception(Permanent("refused", "it refused"))
    with pytest.raises(Permanent, match="refused"):
        first.result(_PATIENCE_S)
    with pytest.raises(Transient, match="deadline-passed"):
        late.result(_PATIENCE_S)
