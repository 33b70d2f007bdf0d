"""How long a STAT study waits, counted in runs of the model's graphs: never in seconds, which are the machine's."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from clinical import Permanent
from inference import Model, load_model, open_package, prompts
from inference.engine import Engine
from inference.manifest import Manifest
from inference.plan import ReadingPlan
from inference.requests import Priority, Run, Steps
from inference.sessions import open_sessions
from inference.vlm import Vlm
from training.phantoms import displayed, draw

_PATIENCE_S = 60.0


class _Counted:
    """A session whose runs are told, with what they work on, before they begin."""

    def __init__(self, session: Any, name: str, tell: Callable[[str], None]) -> None:
        self._session = session
        self._name = name
        self._tell = tell

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run(self, *arguments: Any) -> Any:
        self._tell(self._name)
        return self._session.run(*arguments)

    def run_with_iobinding(self, binding: Any) -> None:
        self._tell(self._name)
        self._session.run_with_iobinding(binding)


class _Ward:
    """Four studies being read, and a STAT study that arrives while a given run of a graph is under way."""

    def __init__(self, arrives_at_run: int) -> None:
        package = open_package("embedded")
        sessions = open_sessions(package.folder, providers=("cpu",), threads=1)
        self.runs: list[str] = []
        self.served_at: int | None = None
        self.stat: Future[Any] | None = None
        self._arrives_at_run = arrives_at_run
        self._manifest: Manifest = package.manifest
        self.vlm = Vlm(
            package,
            replace(
                sessions,
                vision=_Counted(sessions.vision, "tiles", self._told),
                decoder=_Counted(sessions.decoder, "tokens", self._told),
            ),
        )
        self.engine = Engine(self.vlm.decode, slots=4)

    def _told(self, name: str) -> None:
        """In the engine's thread, as a run begins: the worst moment to arrive is now."""
        self.runs.append(name)
        if len(self.runs) == self._arrives_at_run:
            self.stat = self.engine.submit(self._first_served, priority=Priority.STAT)

    def _first_served(self) -> Steps[Any]:
        def served() -> None:
            self.served_at = len(self.runs)

        yield Run(served)
        return (yield from self._reading(6_400_099))

    def _reading(self, seed: int) -> Steps[Any]:
        gray = displayed(draw(seed, 160)[0])
        model = load_identity()
        plan = ReadingPlan(self.vlm, self._manifest, model)
        return (yield from plan.run(self.vlm.tiles(gray), image_of(gray), "1.2"))

    def read(self) -> None:
        jobs = [self.engine.submit(lambda n=n: self._reading(6_400_000 + n)) for n in range(6)]  # type: ignore[misc]
        for job in jobs:
            job.result(_PATIENCE_S)
        if self.stat is not None:
            self.stat.result(_PATIENCE_S)
        self.engine.close()


def load_identity() -> Any:
    from clinical import ModelIdentity

    return ModelIdentity("m", "1", "f", "", "", "", "")


def image_of(gray: Any) -> Any:
    from clinical import ImageRef

    return ImageRef("1.2.3", "", "", gray.shape[0], gray.shape[1], "", "MONOCHROME2")


# While tiles are encoded, prompts are read and all four studies write answers, and all the way to the end.
@pytest.mark.parametrize("arrives_at_run", [1, 2, 3, 5, 9, 20, 60, 120, 180, 240])
def test_a_stat_study_waits_for_the_run_that_is_under_way_and_at_most_one_more(arrives_at_run: int) -> None:
    ward = _Ward(arrives_at_run)
    ward.read()
    assert ward.served_at is not None
    assert ward.served_at - arrives_at_run <= 1


def test_no_run_is_longer_than_a_chunk_or_a_tile_batch() -> None:
    chunks: list[int] = []
    batches: list[int] = []
    package = open_package("embedded")
    sessions = open_sessions(package.folder, providers=("cpu",), threads=1)
    vlm = Vlm(package, sessions)
    prefill, encoded = vlm._decoder.prefill, vlm._encoded

    def measured_prefill(row: Any, embeds: Any) -> Any:
        chunks.append(len(embeds))
        return prefill(row, embeds)

    def measured_tiles(pixel_values: Any) -> Any:
        batches.append(len(pixel_values))
        return encoded(pixel_values)

    vlm._decoder.prefill = measured_prefill  # type: ignore[method-assign]
    vlm._encoded = measured_tiles  # type: ignore[method-assign]
    engine = Engine(vlm.decode)
    tiles = vlm.tiles(np.random.default_rng(1).integers(0, 255, (900, 700), dtype=np.uint8))
    words = " ".join(["lung"] * 700)

    def asked() -> Steps[Any]:
        with (yield from vlm.read_image(tiles)) as prefix:
            return (yield from vlm.answer(prefix, prompts.REPORT, history=[(words, "yes")], longest=4))

    engine.submit(asked).result(_PATIENCE_S)
    engine.close()
    assert max(chunks) == 512 and sum(chunks) > 700
    assert max(batches) <= 4


def test_the_cache_keeps_to_what_a_site_allows_and_readings_stay_the_same() -> None:
    image = displayed(draw(6_400_050, 160)[0])
    free = load_model(threads=1)
    row = free.cache_bytes // 5
    bounded = load_model(threads=1, cache_bytes=int(2.5 * row))
    assert bounded.cache_bytes == 2 * row
    one, other = (replace(model.read(image), stage_s=()) for model in (free, bounded))
    _close(free, bounded)
    assert one == other
    with pytest.raises(Permanent, match=r"cache-too-small.*model.cache_bytes.*" + str(2 * row)):
        load_model(threads=1, cache_bytes=row)


def _close(*models: Model) -> None:
    for model in models:
        model.close()
