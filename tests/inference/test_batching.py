"""Questions answered together are answered as they are alone, whoever else is in the step."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest

from clinical import Transient
from inference import Model, load_model, open_package, prompts
from inference.cache import CachePool, CacheRow
from inference.decoder import Decoder
from inference.device_memory import HostMemory
from inference.elements import element_of
from inference.engine import Engine
from inference.requests import Decode, Priority, Run, Steps, Together, Wait
from inference.sessions import open_sessions
from inference.vlm import Vlm
from training.phantoms import displayed, draw

_PATIENCE_S = 30.0
_QUESTIONS = [
    (prompts.REPORT, ()),
    (prompts.CLASSIFICATION, ()),
    (prompts.grounding("right lung"), ()),
    (prompts.grounding("left lung"), ()),
    (prompts.DETECTION, ()),
]


@pytest.fixture(scope="module")
def single() -> Iterator[Model]:
    model = load_model(threads=1, slots=1, stat_slots=0)
    yield model
    model.close()


def _picture(seed: int) -> Any:
    return displayed(draw(seed, 160)[0])


@pytest.mark.parametrize("slots", [2, 8])
def test_answers_in_one_batch_are_byte_identical_to_answers_one_by_one(single: Model, slots: int) -> None:
    images = [_picture(seed) for seed in range(6_300_000, 6_300_003)]
    alone = [[single.answers(image, [asked])[0] for asked in _QUESTIONS] for image in images]
    model = load_model(threads=1, slots=slots)
    with ThreadPoolExecutor(len(images)) as pool:
        together = list(pool.map(lambda image: model.answers(image, _QUESTIONS), images))
    model.close()
    assert together == alone


def test_an_image_asked_about_again_is_not_encoded_again(single: Model) -> None:
    image = _picture(6_300_010)
    first = single.read(image)
    again = single.read(image)
    assert {"vision", "prefill"} <= {name for name, _ in first.stage_s}
    assert not {"vision", "prefill"} & {name for name, _ in again.stage_s}
    assert again.findings == first.findings and again.exchanges == first.exchanges


def _pool(rows: int, reserve: int = 0) -> CachePool:
    return CachePool(HostMemory(2, (rows, 2, 8, 4), element_of("tensor(float)")), reserve=reserve)


def test_the_reserve_is_kept_for_priority() -> None:
    pool = _pool(3, reserve=1)
    taken = [pool.take(), pool.take()]
    assert None not in taken and pool.take() is None
    urgent = pool.take(first=True)
    assert urgent is not None and pool.take(first=True) is None
    pool.release(urgent)
    assert pool.free == 1


def test_rows_keep_their_content_when_they_are_moved_together() -> None:
    memory = HostMemory(2, (6, 2, 8, 4), element_of("tensor(float)"))
    pool = CachePool(memory)
    rows = [row for row in (pool.take() for _ in range(6)) if row is not None]
    marks: dict[CacheRow, float] = {}
    for number, row in enumerate(rows):
        row.length = 3
        marks[row] = float(number + 1)
        for buffer in memory._buffers:
            buffer[row.place, :, :3] = number + 1
    pool.release(rows[1])
    draws = np.random.default_rng(3)
    held = [row for row in rows if row is not rows[1]]
    for _ in range(40):
        chosen = [held[i] for i in draws.permutation(len(held))[: draws.integers(1, len(held) + 1)]]
        ordered = pool.side_by_side(chosen)
        assert [row.place for row in ordered] == list(range(len(chosen))) and set(ordered) == set(chosen)
        assert len({row.place for row in held}) == len(held)
        for row in held:
            assert all((buffer[row.place, :, :3] == marks[row]).all() for buffer in memory._buffers)


class _Steps:
    """Decode steps that are written down; more rows than `most` find no memory."""

    def __init__(self, most: int = 99) -> None:
        self.batches: list[list[int]] = []
        self._most = most

    def __call__(self, requests: Sequence[Decode]) -> list[int]:
        if len(requests) > self._most:
            raise RuntimeError("Failed to allocate memory for requested buffer of size 17")
        self.batches.append(sorted(request.token for request in requests))
        return [request.token for request in requests]


def _writing(token: int, count: int) -> Steps[int]:
    for _ in range(count):
        yield Decode(CacheRow(0), token)
    return token


def _held(started: Event, release: Event) -> None:
    started.set()
    release.wait(_PATIENCE_S)


def _after(started: Event, release: Event) -> Steps[None]:
    yield Run(lambda: _held(started, release))


def _engine_with(steps: _Steps, slots: int = 8) -> tuple[Engine, Event]:
    """An engine that is held until the event is set, so that what is submitted arrives together."""
    engine = Engine(steps, slots=slots)
    started, release = Event(), Event()
    engine.submit(lambda: _after(started, release))
    assert started.wait(_PATIENCE_S)
    return engine, release


def test_jobs_join_and_leave_between_steps() -> None:
    steps = _Steps()
    engine, release = _engine_with(steps)
    jobs = [engine.submit(lambda n=n: _writing(n, n)) for n in (1, 2, 3)]  # type: ignore[misc]
    release.set()
    assert [job.result(_PATIENCE_S) for job in jobs] == [1, 2, 3]
    engine.close()
    assert [1, 2, 3] in steps.batches or [2, 3] in steps.batches
    assert sum(map(len, steps.batches)) == 6 and len(steps.batches) < 6


def test_without_memory_for_all_the_step_is_split_and_nobody_fails() -> None:
    steps = _Steps(most=2)
    engine, release = _engine_with(steps)
    jobs = [engine.submit(lambda n=n: _writing(n, 5)) for n in range(5)]  # type: ignore[misc]
    release.set()
    assert [job.result(_PATIENCE_S) for job in jobs] == [0, 1, 2, 3, 4]
    engine.close()
    assert max(map(len, steps.batches)) == 2


def test_a_request_without_memory_even_alone_is_refused_and_the_engine_lives() -> None:
    engine = Engine(_Steps(most=0))
    with pytest.raises(Transient, match="out-of-memory"):
        engine.submit(lambda: _writing(1, 1)).result(_PATIENCE_S)

    def greedy() -> Steps[None]:
        yield Run(lambda: bytearray(1 << 62))

    with pytest.raises(Transient, match="out-of-memory"):
        engine.submit(greedy).result(_PATIENCE_S)
    assert engine.submit(lambda: _writing(1, 0)).result(_PATIENCE_S) == 1
    engine.close()


def test_stat_is_served_before_everything_that_waits() -> None:
    engine, release = _engine_with(_Steps(), slots=2)
    seen: list[str] = []

    def chunks(name: str, count: int) -> Steps[None]:
        for _ in range(count):
            yield Run(lambda: seen.append(name))

    routine = [engine.submit(lambda: chunks("routine", 3)) for _ in range(4)]
    stat = engine.submit(lambda: chunks("stat", 3), priority=Priority.STAT)
    release.set()
    for job in (*routine, stat):
        job.result(_PATIENCE_S)
    engine.close()
    assert seen[:3] == ["stat"] * 3


def test_stat_arriving_later_waits_for_one_step_only() -> None:
    engine = Engine(_Steps(), slots=2)
    seen: list[str] = []
    entered, go_on = Event(), Event()

    def routine() -> Steps[None]:
        yield Run(lambda: _held(entered, go_on))
        for _ in range(5):
            yield Run(lambda: seen.append("chunk"))

    def stat() -> Steps[None]:
        yield Run(lambda: seen.append("stat"))

    jobs = [engine.submit(routine)]
    assert entered.wait(_PATIENCE_S)
    jobs.append(engine.submit(stat, priority=Priority.STAT))
    go_on.set()
    for job in jobs:
        job.result(_PATIENCE_S)
    engine.close()
    assert seen[0] == "stat"


def test_a_cancelled_job_ends_between_steps_and_gives_its_row_back() -> None:
    engine = Engine(_Steps())
    pool = _pool(1)
    holding = Event()

    def forever() -> Steps[None]:
        row = yield Wait(lambda priority: pool.take())
        try:
            holding.set()
            while True:
                yield Decode(row, 0)
        finally:
            pool.release(row)

    job = engine.submit(forever)
    assert holding.wait(_PATIENCE_S)
    assert job.cancel()

    def next_one() -> Steps[bool]:
        row = yield Wait(lambda priority: pool.take())
        return row is not None

    assert engine.submit(next_one).result(_PATIENCE_S)
    engine.close()


def test_one_of_several_that_fails_ends_the_others_and_the_failure_arrives() -> None:
    engine = Engine(_Steps())
    ended = Event()

    def sibling() -> Steps[None]:
        try:
            while True:
                yield None
        finally:
            ended.set()

    def broken() -> Steps[None]:
        yield None
        yield None
        raise ValueError("broken")

    def parent() -> Steps[str]:
        try:
            yield Together((sibling(), broken()))
        except ValueError:
            results = yield Together((_writing(1, 1), _writing(2, 3)))
            return f"recovered {results}"
        return "never"

    assert engine.submit(parent).result(_PATIENCE_S) == "recovered [1, 2]"
    assert ended.is_set()
    engine.close()


class _Scarce:
    """A session whose first runs find no memory."""

    def __init__(self, session: Any, failures: int) -> None:
        self._session = session
        self._failures = failures

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def _spend(self) -> None:
        self._failures -= 1
        if self._failures >= 0:
            raise RuntimeError(
                "Non-zero status code: Failed to allocate memory for requested buffer of size 4096"
            )

    def run(self, *arguments: Any) -> Any:
        self._spend()
        return self._session.run(*arguments)

    def run_with_iobinding(self, binding: Any) -> None:
        self._spend()
        self._session.run_with_iobinding(binding)


def _answers_with_failures(failures: int) -> Any:
    package = open_package("embedded")
    sessions = open_sessions(package.folder, providers=("cpu",), threads=1)
    vision, decoder = _Scarce(sessions.vision, failures), _Scarce(sessions.decoder, failures)
    vlm = Vlm(package, replace(sessions, vision=vision, decoder=decoder))
    engine = Engine(vlm.decode)
    tiles = vlm.tiles(_picture(6_300_020))

    def asked() -> Steps[Any]:
        with (yield from vlm.read_image(tiles)) as prefix:
            return (yield Together(tuple(vlm.answer(prefix, question) for question, _ in _QUESTIONS)))

    try:
        return engine.submit(asked).result(_PATIENCE_S)
    finally:
        engine.close()


def test_prompts_and_images_that_find_no_memory_are_read_in_smaller_parts(single: Model) -> None:
    alone = single.answers(_picture(6_300_020), _QUESTIONS)
    assert _answers_with_failures(2) == alone
    with pytest.raises(Transient, match="out-of-memory"):
        _answers_with_failures(99)


def test_rows_added_for_quantised_models_change_nothing(single: Model, tmp_path: Path) -> None:
    package = Path(shutil.copytree(open_package("embedded").folder, tmp_path / "package"))
    manifest = json.loads((package / "manifest.json").read_text())
    (package / "manifest.json").write_text(json.dumps({**manifest, "precision": "int4"}))
    image = _picture(6_300_021)
    model = load_model(package, threads=1, slots=2)
    found = [model.answers(image, asked) for asked in (_QUESTIONS, _QUESTIONS[:1])]
    model.close()
    alone = single.answers(image, _QUESTIONS)
    assert found == [alone, alone[:1]]


@pytest.mark.parametrize("rounds_otherwise", [False, True])
def test_a_lone_row_gets_company_only_where_it_would_round_otherwise(
    rounds_otherwise: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package_path = Path(shutil.copytree(open_package("embedded").folder, tmp_path / "package"))
    manifest = json.loads((package_path / "manifest.json").read_text())
    (package_path / "manifest.json").write_text(json.dumps({**manifest, "precision": "int4"}))
    package = open_package(package_path)
    rows: list[int] = []
    run = Decoder._run

    def running(self: Decoder, chosen: Any, embeds: Any) -> Any:
        rows.append(len(chosen))
        if rounds_otherwise and len(chosen) == 1 and embeds.shape[1] == 1:
            embeds = embeds * np.float32(1.0001)
        return run(self, chosen, embeds)

    monkeypatch.setattr(Decoder, "_run", running)
    vlm = Vlm(package, open_sessions(package.folder, providers=("cpu",), threads=1))
    row = vlm._decoder.pool.take()
    assert row is not None
    vlm._decoder.prefill(row, vlm._decoder.embed([1, 2, 3]))
    rows.clear()
    vlm.decode([Decode(row, 5)])
    assert rows == [2 if rounds_otherwise else 1]
