"""Decode speed beside transformers, onnxruntime-genai and the memory's, whole readings, batching, the wait of a STAT.

``python -m tests.bench.decode_bench [--shape half-billion] [--threads 2] [--rounds 5] [--spin]``. A program, no test:
engines take turns within one run and medians are printed; the numbers are this machine's, and mean something only where
nothing else runs. Weights are random; the shape is Qwen2-0.5B's decoder with 32,768 words. Needs the extra `training`.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from inference import prompts
from inference.engine import Engine
from inference.requests import Decode, Priority, Run, Steps, Together
from inference.sessions import open_sessions
from tests.bench.random_model import SHAPES, RandomModel
from tests.bench.served_package import Served
from tests.bench.step_bench import steps_in_turn
from training.architecture import tile_features
from training.export.parity import Reference

_READING = [
    (prompts.REPORT, 80),
    (prompts.CLASSIFICATION, 24),
    *((prompts.grounding(name), 24) for name in ("edema", "consolidation", "pleural effusion", "fracture")),
    *((prompts.phrase_grounding(f"There is {name}."), 24) for name in ("edema", "a fracture")),
]


def _vision(model: RandomModel, threads: int, rounds: int) -> None:
    from transformers import LlavaOnevisionForConditionalGeneration

    network = LlavaOnevisionForConditionalGeneration.from_pretrained(
        model.checkpoint, dtype=torch.float32
    ).eval()
    sessions = open_sessions(model.package(), providers=("cpu",), threads=threads)
    side = model.size.image_size_px
    pixels = np.random.default_rng(0).standard_normal((2, 3, side, side)).astype(np.float32)

    @torch.no_grad()
    def theirs() -> None:
        tile_features(network, torch.from_numpy(pixels))

    def ours() -> None:
        sessions.vision.run(["image_features"], {"pixel_values": pixels})

    taken: dict[str, list[float]] = {"torch": [], "this engine": []}
    for index in range(rounds + 1):
        for name, run in (("torch", theirs), ("this engine", ours)):
            start = time.perf_counter()
            run()
            if index:
                taken[name].append(1000 * (time.perf_counter() - start))
    there, here = (statistics.median(values) for values in taken.values())
    print(
        f"vision, 2 tiles of {side} px: torch {there:.0f} ms, this engine {here:.0f} ms: {there / here:.2f}x"
    )


def _asked(served: Served, gray: NDArray[np.uint8], asked: Sequence[tuple[str, int]]) -> Steps[Any]:
    tiles = served.vlm.tiles(gray)
    prefix = yield from served.vlm.read_image(tiles)
    with prefix:
        answers = tuple(served.vlm.answer(prefix, question, longest=longest) for question, longest in asked)
        return (yield Together(answers))


def _submit(engine: Engine, served: Served, seed: int, tokens: int) -> Future[Any]:
    return engine.submit(lambda: _asked(served, _picture(seed), [(prompts.REPORT, tokens)]))


def _picture(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 255, (300, 300), dtype=np.uint8)


def _reading(model: RandomModel, threads: int, rounds: int) -> None:
    served = Served.open(model.package(), threads, 8)
    engine = Engine(served.vlm.decode, slots=8)
    reference = Reference(model.checkpoint)
    reference._model.generation_config.eos_token_id = None
    ours, theirs, equal = [], [], True
    for seed in range(rounds):
        gray = _picture(seed)
        start = time.perf_counter()
        answers = engine.submit(lambda gray=gray: _asked(served, gray, _READING)).result()  # type: ignore[misc]
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        told = [reference.answer(gray, question, longest=longest) for question, longest in _READING]
        theirs.append(time.perf_counter() - start)
        equal &= all(
            np.array_equal(a.tokens[: len(b.tokens)], b.tokens) for a, b in zip(answers, told, strict=True)
        )
    engine.close()
    ratio = statistics.median(there / here for there, here in zip(theirs, ours, strict=True))
    print(f"one reading, {len(_READING)} questions, {sum(n for _, n in _READING)} tokens, {rounds} rounds")
    print(
        f"  transformers {statistics.median(theirs):.1f} s, this engine {statistics.median(ours):.1f} s: {ratio:.1f}x"
    )
    print(f"  greedy tokens {'equal' if equal else 'DIFFER'}")


def _batching(model: RandomModel, threads: int, tokens: int, readings: int) -> None:
    """Time inside decode steps, all readings arriving together."""
    spent: dict[int, float] = {}
    texts = {}
    for slots in (1, readings):
        served = Served.open(model.package(), threads, slots)
        times: list[float] = []

        def decode(requests: Sequence[Decode], served: Served = served, times: list[float] = times) -> Any:
            start = time.perf_counter()
            answers = served.vlm.decode(requests)
            times.append(time.perf_counter() - start)
            return answers

        engine = Engine(decode, slots=slots)
        start = time.perf_counter()
        jobs = [_submit(engine, served, seed, tokens) for seed in range(readings)]
        texts[slots] = [job.result()[0].tokens for job in jobs]
        wall = time.perf_counter() - start
        engine.close()
        spent[slots] = sum(times)
        print(
            f"{readings} readings of {tokens} tokens, {slots} slots: decode {sum(times):.1f} s in {len(times)} steps, "
            f"whole {wall:.1f} s"
        )
    print(f"  decode time with {readings} slots: {spent[readings] / spent[1]:.2f} of that with one")
    print(f"  tokens {'equal' if texts[1] == texts[readings] else 'DIFFER'}")


def _stat(model: RandomModel, threads: int) -> None:
    """How many runs of a graph a STAT job waits for that arrives among others."""
    served = Served.open(model.package(), threads, 4)
    engine = Engine(served.vlm.decode, slots=4)
    jobs = [_submit(engine, served, seed, 200) for seed in range(6)]
    waits, runs = [], []
    for _ in range(12):
        time.sleep(0.7)
        arrived, before = time.perf_counter(), served.decoder.runs + served.vision.runs

        def first(arrived: float = arrived, before: int = before) -> None:
            waits.append(time.perf_counter() - arrived)
            runs.append(served.decoder.runs + served.vision.runs - before)

        def stat(first: Callable[[], None] = first) -> Steps[None]:
            yield Run(first)

        engine.submit(stat, priority=Priority.STAT).result()
    for job in jobs:
        job.cancel()
    engine.close()
    print(
        f"a STAT arriving among 6 readings: first served after {1000 * statistics.median(waits):.0f} ms "
        f"(slowest {1000 * max(waits):.0f} ms), at most {max(runs)} runs of a graph later"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="decode speed, readings, continuous batching, STAT")
    parser.add_argument("--shape", choices=SHAPES, default="half-billion")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--reading-rounds", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument(
        "--spin", action="store_true", help="decode: as model.spin, for onnxruntime-genai too"
    )
    parser.add_argument("--only", choices=("decode", "vision", "reading", "batching", "stat"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = RandomModel(arguments.shape)
    parts: dict[str, Callable[[], None]] = {
        "decode": lambda: steps_in_turn(model, arguments.threads, arguments.rounds, spin=arguments.spin),
        "vision": lambda: _vision(model, arguments.threads, arguments.rounds),
        "stat": lambda: _stat(model, arguments.threads),
        "batching": lambda: _batching(model, arguments.threads, arguments.tokens, 8),
        "reading": lambda: _reading(model, arguments.threads, arguments.reading_rounds),
    }
    for name, part in parts.items():
        if arguments.only in (None, name):
            part()


if __name__ == "__main__":
    main()
