"""Seconds of one reading by stage, and what the engine costs beside ONNX Runtime itself.

``python -m tests.bench.inference_bench [--package embedded] [--readings 20] [--threads 2]``. A program, not a test: the
numbers are this machine's, and mean something only where nothing else runs.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from clinical import ImageRef, ModelIdentity, Reading
from inference.engine import Engine
from inference.manifest import ModelPackage, open_package
from inference.plan import ReadingPlan
from inference.requests import Steps
from inference.sessions import open_sessions
from inference.vlm import Vlm
from training.phantoms import displayed, draw

_FIRST_SEED = 9_000_000
_MODEL = ModelIdentity("bench", "0", "", "", "", "", "")


@dataclass
class TimedSession:
    """A session that adds up the time inside ONNX Runtime, and what the calling thread computed of it."""

    session: Any
    spent_s: float = 0.0
    computed_s: float = 0.0
    runs: int = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)

    def run(self, *arguments: Any) -> Any:
        """`InferenceSession.run`, timed."""
        return self._timed(self.session.run, *arguments)

    def run_with_iobinding(self, binding: Any) -> Any:
        """`InferenceSession.run_with_iobinding`, timed."""
        return self._timed(self.session.run_with_iobinding, binding)

    def _timed(self, call: Any, *arguments: Any) -> Any:
        start, computed = time.perf_counter(), time.thread_time()
        result = call(*arguments)
        self.spent_s += time.perf_counter() - start
        self.computed_s += time.thread_time() - computed
        self.runs += 1
        return result


@dataclass(frozen=True)
class Bench:
    """A model package with timed sessions under the same engine and plan the product uses."""

    package: ModelPackage
    vlm: Vlm
    engine: Engine
    vision: TimedSession
    decoder: TimedSession

    @classmethod
    def open(cls, package_path: str, threads: int | None) -> Bench:
        """Load a package."""
        package = open_package(package_path)
        sessions = open_sessions(package.folder, providers=("cpu",), threads=threads)
        vision, decoder = TimedSession(sessions.vision), TimedSession(sessions.decoder)
        vlm = Vlm(package, replace(sessions, vision=vision, decoder=decoder))
        return cls(package, vlm, Engine(vlm.decode), vision, decoder)

    def read(self, gray: NDArray[np.uint8]) -> Reading:
        """One reading through the engine thread."""
        rows, columns = gray.shape
        image = ImageRef("1.2", "", "", rows, columns, "", "MONOCHROME2")
        plan = ReadingPlan(self.vlm, self.package.manifest, _MODEL)
        tiles = self.vlm.tiles(gray)
        reading: Reading = self.engine.submit(lambda: plan.run(tiles, image, "1")).result()
        return reading


def _engine_clock() -> Steps[float]:
    """Seconds the engine's thread has computed: what others do on the machine is not in it."""
    yield None
    return time.thread_time()


def _table(walls: list[float], readings: list[Reading]) -> None:
    stages: dict[str, list[float]] = defaultdict(list)
    for reading in readings:
        for name, seconds in reading.stage_s:
            stages[name].append(seconds)
    questions = statistics.mean(len(reading.exchanges) for reading in readings)
    print(f"{len(readings)} readings one after another, {questions:.1f} questions each")
    print(f"  {'whole reading':<16} median {statistics.median(walls):7.3f} s   slowest {max(walls):7.3f} s")
    for name, taken in stages.items():
        print(f"  {name:<16} median {statistics.median(taken):7.3f} s   slowest {max(taken):7.3f} s")


def _overhead(parts: list[tuple[float, float, int]]) -> None:
    """Per reading: (wall seconds, seconds inside ONNX Runtime, runs). Medians, as others may use the machine too."""
    inside_ms = statistics.median(1000 * inside / runs for _, inside, runs in parts)
    beside_ms = statistics.median(1000 * (wall - inside) / runs for wall, inside, runs in parts)
    share = statistics.median((wall - inside) / wall for wall, inside, _ in parts)
    steps = sum(runs for _, _, runs in parts)
    print(f"{steps} steps: {inside_ms:.2f} ms in ONNX Runtime, {beside_ms:.3f} ms beside it per step")
    print(f"  share of the time beside ONNX Runtime: {100 * share:.1f} %")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="seconds of one reading by stage, and the engine's own cost")
    parser.add_argument("--package", default="embedded", help='folder, or "embedded"')
    parser.add_argument("--readings", type=int, default=20)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--in-flight", type=int, default=4, help="readings at once in the second part")
    arguments = parser.parse_args()
    start = time.perf_counter()
    bench = Bench.open(arguments.package, arguments.threads)
    print(f"package loaded and verified in {time.perf_counter() - start:.2f} s")
    images = [displayed(draw(_FIRST_SEED + n, 160)[0]) for n in range(arguments.readings)]
    bench.read(displayed(draw(_FIRST_SEED - 1, 160)[0]))
    before_s = bench.engine.submit(_engine_clock).result()
    beside_s: list[float] = []
    shares: list[float] = []
    parts: list[tuple[float, float, int]] = []
    walls: list[float] = []
    readings: list[Reading] = []
    for image in images:
        for session in (bench.vision, bench.decoder):
            session.spent_s, session.computed_s, session.runs = 0.0, 0.0, 0
        start = time.perf_counter()
        readings.append(bench.read(image))
        walls.append(time.perf_counter() - start)
        inside_s = bench.vision.spent_s + bench.decoder.spent_s
        runs = bench.vision.runs + bench.decoder.runs
        parts.append((walls[-1], inside_s, runs))
        after_s = bench.engine.submit(_engine_clock).result()
        computed_s = bench.vision.computed_s + bench.decoder.computed_s
        beside_s.append((after_s - before_s - computed_s) / runs)
        shares.append(1 - computed_s / (after_s - before_s))
        before_s = after_s
    _table(walls, readings)
    _overhead(parts)
    print(
        f"  of processor time, without what others do: {1000 * statistics.median(beside_s):.3f} ms a step beside it, "
        f"{100 * statistics.median(shares):.1f} %"
    )
    # Other images: one that was read is still in the cache.
    mirrored = [np.ascontiguousarray(image[:, ::-1]) for image in images]
    start = time.perf_counter()
    with ThreadPoolExecutor(arguments.in_flight) as pool:
        list(pool.map(bench.read, mirrored))
    print(
        f"{arguments.in_flight} in flight: {len(images) / (time.perf_counter() - start):.2f} readings/s, "
        f"one after another {len(images) / sum(walls):.2f} readings/s"
    )
    print(f"resident memory {psutil.Process().memory_info().rss / 2**20:.0f} MiB")
    bench.engine.close()


if __name__ == "__main__":
    main()
