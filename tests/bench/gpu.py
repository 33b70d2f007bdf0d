"""A random model of RadVLM's exact 7B shape on a GPU: decode beside the memory roofline, whole readings, batches.

``python -m tests.bench.gpu [--shape radvlm-7b] [--provider cuda] [--cuda-graphs] [--transformers]``. Needs this
repository and an onnxruntime with CUDA, and nothing else: the package is written here with random weights, operator by
operator as the export writes it (17 GB for the 7B shape), and the product's own sessions, decoder and engine run it.
``--transformers`` answers the same questions with transformers and torch on the same device, where they are installed.
``--shape small --provider cpu`` runs everywhere. A program, not a test; what it prints holds for its machine.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference import prompts
from inference.cache import CacheRow
from inference.device_memory import CudaMemory, HostMemory
from inference.elements import Element
from inference.engine import Engine
from inference.requests import Decode, Steps, Together
from inference.sessions import DeviceOptions, open_sessions
from inference.vlm import CacheSize, Vlm
from tests.bench.random_package import SHAPES, PackageShape, random_package

_CHUNK = 512
_COPIED_BYTES = {"cuda": 1 << 30, "cpu": 1 << 28}
_COPIES = 5
QUESTIONS = [
    (prompts.REPORT, 80),
    (prompts.CLASSIFICATION, 24),
    *((prompts.grounding(name), 24) for name in ("edema", "consolidation", "pleural effusion", "fracture")),
    *((prompts.phrase_grounding(f"There is {name}."), 24) for name in ("edema", "a fracture")),
]


@dataclass(frozen=True)
class Bench:
    """A random package under the product's engine."""

    vlm: Vlm
    engine: Engine
    shape: PackageShape
    device: str

    @classmethod
    def open(cls, shape: PackageShape, folder: Path, arguments: argparse.Namespace) -> Bench:
        """Write the package where it is not yet, and load it."""
        start = time.perf_counter()
        package = random_package(shape, folder)
        written = time.perf_counter()
        sessions = open_sessions(
            package.folder,
            providers=(arguments.provider,),
            threads=arguments.threads,
            options=DeviceOptions(spin=arguments.provider == "cuda", cuda_graphs=arguments.cuda_graphs),
        )
        vlm = Vlm(package, sessions, size=CacheSize(arguments.batch, 0))
        # Random models end where they like; lengths are the benchmark's to decide.
        vlm._ends = frozenset()
        print(
            f"{sessions.engine}; package {written - start:.0f} s, loaded {time.perf_counter() - written:.0f} s"
        )
        print(f"cache of {arguments.batch} rows: {vlm.cache_bytes / 1e9:.2f} GB")
        return cls(vlm, Engine(vlm.decode, slots=arguments.batch), shape, sessions.device)

    def bandwidth_gb_s(self) -> float:
        """Bytes read and written a second by a copy within the device's memory, the best of a few."""
        memory_class = CudaMemory if self.device == "cuda" else HostMemory
        size = _COPIED_BYTES[self.device]
        memory = memory_class(1, (2, 1, size // 4096, 4096), Element(2, np.dtype(np.uint8)))
        taken = []
        for _ in range(_COPIES):
            start = time.perf_counter()
            memory.copy(0, 1, memory.capacity)
            taken.append(time.perf_counter() - start)
        return 2 * size / min(taken) / 1e9

    def prefill(self, row: CacheRow, tokens: int) -> float:
        """Read a prompt in the engine's chunks; seconds."""
        decoder = self.vlm._decoder
        ids = np.random.default_rng(2).integers(0, self.shape.decoder.vocabulary, tokens).tolist()
        start = time.perf_counter()
        for at in range(0, tokens, _CHUNK):
            decoder.prefill(row, decoder.embed(ids[at : at + _CHUNK]))
        return time.perf_counter() - start

    def step_ms(self, rows: Sequence[CacheRow], count: int) -> float:
        """Median milliseconds of a decode step."""
        decoder, taken = self.vlm._decoder, []
        tokens = [17] * len(rows)
        for _ in range(count + 2):
            start = time.perf_counter()
            found = decoder.step([Decode(row, token) for row, token in zip(rows, tokens, strict=True)])
            tokens = [scores.best for scores in found]
            taken.append(1000 * (time.perf_counter() - start))
        return statistics.median(taken[2:])

    def read(self, gray: NDArray[np.uint8], stages: dict[str, float]) -> Future[Any]:
        """One reading: the image once, then every question at once."""

        def steps() -> Steps[Any]:
            prefix = yield from self.vlm.read_image(tiles, stages.__setitem__)
            with prefix:
                asked = (self.vlm.answer(prefix, text, longest=longest) for text, longest in QUESTIONS)
                return (yield Together(tuple(asked)))

        tiles = self.vlm.tiles(gray)
        return self.engine.submit(steps)


def _decode(bench: Bench, prompt: int, steps: int, batches: Sequence[int], bandwidth_gb_s: float) -> None:
    pool = bench.vlm._decoder.pool
    first = pool.take()
    assert first is not None
    bench.prefill(first, min(_CHUNK, prompt))
    first.length = 0
    print(f"prefill of {prompt} tokens: {bench.prefill(first, prompt):.2f} s")
    start = time.perf_counter()
    rows = [first, *(row for _ in range(max(batches) - 1) if (row := pool.fork(first, prompt)))]
    print(f"fork of the prefix: {1000 * (time.perf_counter() - start) / max(1, len(rows) - 1):.1f} ms each")
    for batch in batches:
        for row in rows:
            row.length = prompt
        step_ms = bench.step_ms(rows[:batch], steps)
        moved = bench.shape.decoder.step_bytes(batch, prompt)
        reached = moved / step_ms / 1e6
        print(
            f"decode, batch {batch}: {step_ms:.2f} ms a step, {1000 * batch / step_ms:.0f} tokens/s, "
            f"{reached:.1f} GB/s = {100 * reached / bandwidth_gb_s:.0f} % of the roofline"
        )
    for row in rows:
        pool.release(row)


def pictures(shape: PackageShape, count: int) -> list[NDArray[np.uint8]]:
    """Square pictures of nine tiles: 7,371 tokens for RadVLM."""
    side = round(shape.vision.side_px * 8 / 3)
    draws = np.random.default_rng(3)
    return [draws.integers(0, 255, (side, side), dtype=np.uint8) for _ in range(count)]


def _readings(bench: Bench, batch: int, rounds: int) -> None:
    shown = pictures(bench.shape, 1 + rounds + batch)
    tiles = bench.vlm.tiles(shown[0])
    bench.read(shown[0], {}).result()  # warms up
    walls, stages = [], []
    for picture in shown[1 : 1 + rounds]:
        found: dict[str, float] = {}
        start = time.perf_counter()
        bench.read(picture, found).result()
        walls.append(time.perf_counter() - start)
        stages.append(found)
    vision, prefill = (statistics.median(each[name] for each in stages) for name in ("vision", "prefill"))
    whole = statistics.median(walls)
    operations = len(tiles.pixel_values) * bench.shape.vision.tile_operations(bench.shape.decoder.width)
    tokens = sum(longest for _, longest in QUESTIONS)
    print(
        f"one reading, {len(tiles.pixel_values)} tiles, {bench.vlm.token_count(tiles)} image tokens, "
        f"{len(QUESTIONS)} questions, {tokens} tokens: {whole:.2f} s"
    )
    print(
        f"  vision {vision:.2f} s ({operations / vision / 1e12:.2f} TFLOPS), prefill {prefill:.2f} s, "
        f"answers {whole - vision - prefill:.2f} s"
    )
    start = time.perf_counter()
    jobs = [bench.read(picture, {}) for picture in shown[1 + rounds :]]
    for job in jobs:
        job.result()
    print(f"{batch} readings at once: {batch / (time.perf_counter() - start):.2f} readings/s")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="speed of a random model of RadVLM's shape")
    parser.add_argument("--shape", choices=SHAPES, default="radvlm-7b")
    parser.add_argument("--provider", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--threads", type=int, default=None, help="of one step, on the CPU")
    parser.add_argument("--prompt", type=int, default=7300, help="tokens before a decode step")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3, help="readings one after another")
    parser.add_argument(
        "--bandwidth-gb-s", type=float, default=None, help="of the device's memory; default: of a copy in it"
    )
    parser.add_argument("--cuda-graphs", action="store_true", help="as model.cuda_graphs")
    parser.add_argument("--transformers", action="store_true", help="the same questions by transformers too")
    parser.add_argument("--folder", type=Path, default=None)
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    arguments = _arguments()
    shape = SHAPES[arguments.shape]
    folder = arguments.folder or Path("runs") / "bench" / f"random-{arguments.shape}"
    bench = Bench.open(shape, folder, arguments)
    bandwidth = arguments.bandwidth_gb_s or bench.bandwidth_gb_s()
    print(f"memory: {bandwidth:.0f} GB/s {'given' if arguments.bandwidth_gb_s else 'by a copy within it'}")
    capacity = bench.vlm._decoder.pool.capacity
    prompt = min(arguments.prompt, capacity - arguments.steps - 2)
    batches = sorted({1, min(4, arguments.batch), arguments.batch})
    _decode(bench, prompt, arguments.steps, batches, bandwidth)
    _readings(bench, arguments.batch, arguments.rounds)
    bench.engine.close()
    if arguments.transformers:
        from tests.bench.gpu_transformers import compare

        image_tokens = bench.vlm.token_count(bench.vlm.tiles(pictures(shape, 1)[0]))
        del bench  # and its memory on the device
        compare(folder, shape, image_tokens, arguments)


if __name__ == "__main__":
    main()
