"""Milliseconds of a decode step: this engine, transformers and onnxruntime-genai in turns, each in its own process.

Engines that share a process share its allocator, and the threads of one spin while another computes; what they take
together says little of what each takes alone. `steps_in_turn` therefore gives each a process that sleeps until asked.
"""

from __future__ import annotations

import json
import multiprocessing
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch

from inference.requests import Decode
from tests.bench.random_model import RandomModel
from tests.bench.served_package import Served

_READ_BYTES = 1 << 30
_PROMPT = 800
_STEPS = 6
_BATCHES = (1, 4)

Stepper = Callable[[], None]


class Apart:
    """Steppers in a process of their own, loaded there.

    Parameters
    ----------
    load
        Gives the steppers by name, each a few decode steps; runs in the other process.
    """

    def __init__(self, load: Callable[[], dict[str, Stepper]]) -> None:
        spawning = multiprocessing.get_context("spawn")
        self._asking, there = spawning.Pipe()
        self._process = spawning.Process(target=_serve, args=(load, there), daemon=True)
        self._process.start()
        there.close()
        self.names: list[str] = self._asking.recv()

    def step_ms(self, name: str) -> float:
        """Milliseconds of one step of `name`, the mean of a few in a row."""
        self._asking.send(name)
        return float(self._asking.recv())

    def __enter__(self) -> Apart:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._asking.send(None)
        self._process.join()


def _serve(load: Callable[[], dict[str, Stepper]], asked: Connection) -> None:
    steppers = load()
    for steps in steppers.values():
        steps()
    asked.send(list(steppers))
    while (name := asked.recv()) is not None:
        # The first step after a sleep finds cold caches and sleeping threads, which a report of 200 tokens does not.
        steppers[name]()
        start = time.perf_counter()
        steppers[name]()
        asked.send(1000 * (time.perf_counter() - start) / _STEPS)


def _ours(package: Path, precision: str, threads: int, spin: bool) -> dict[str, Stepper]:
    served = Served.open(package, threads, sum(_BATCHES), spin=spin)
    return {f"this engine {precision}, batch {batch}": _our_steps(served, batch) for batch in _BATCHES}


def _our_steps(served: Served, batch: int) -> Stepper:
    decoder = served.vlm._decoder
    rows = [decoder.pool.take() for _ in range(batch)]
    chosen = [row for row in rows if row is not None]
    embeds = decoder.embed(np.random.default_rng(0).integers(0, 1000, _PROMPT).tolist())
    decoder.prefill(chosen[0], embeds)
    for row in chosen[1:]:
        decoder._memory.copy(chosen[0].place, row.place, _PROMPT)

    def steps() -> None:
        for row in chosen:
            row.length = _PROMPT
        for _ in range(_STEPS):
            decoder.step([Decode(row, 17) for row in chosen])

    return steps


def _transformers(folder: Path, threads: int) -> dict[str, Stepper]:
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(threads)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return {f"transformers fp32, batch {batch}": _their_steps(model, batch) for batch in _BATCHES}


def _their_steps(model: Any, batch: int) -> Stepper:
    ids = torch.from_numpy(np.random.default_rng(0).integers(0, 1000, (1, _PROMPT))).expand(batch, -1)
    token = torch.full((batch, 1), 17)
    with torch.no_grad():
        past = model(input_ids=ids, use_cache=True, logits_to_keep=1).past_key_values

    @torch.no_grad()
    def steps() -> None:
        for _ in range(_STEPS):
            model(input_ids=token, past_key_values=past, use_cache=True).logits[:, -1].argmax(-1)
        past.crop(-_STEPS)

    return steps


def _genai(folder: Path, precision: str, threads: int, spin: bool) -> dict[str, Stepper]:
    import onnxruntime_genai as genai  # type: ignore[import-untyped]

    path = folder / "genai_config.json"
    config = json.loads(path.read_text())
    options = {"intra_op_num_threads": threads, "session.intra_op.allow_spinning": str(int(spin))}
    config["model"]["decoder"]["session_options"].update(options)
    path.write_text(json.dumps(config))
    model = genai.Model(str(folder))
    parameters = genai.GeneratorParams(model)
    parameters.set_search_options(max_length=_PROMPT + 200, min_length=_PROMPT + 200)
    generator = genai.Generator(model, parameters)
    generator.append_tokens(np.random.default_rng(0).integers(0, 1000, _PROMPT).tolist())

    def steps() -> None:
        generator.rewind_to(_PROMPT)
        # Appending runs the model; the first call after it only takes the token, each further one runs the model.
        generator.append_tokens([17])
        for _ in range(_STEPS):
            generator.generate_next_token()

    return {f"onnxruntime-genai {precision}, batch 1": steps}


def steps_in_turn(model: RandomModel, threads: int, rounds: int, *, spin: bool) -> None:
    """Print the medians of `rounds` turns of every engine, and their ratios to transformers in the same turn."""
    packages = {precision: model.package(precision) for precision in ("fp32", "int8", "int4")}
    loads: list[Callable[[], dict[str, Stepper]]] = [
        partial(_transformers, model.language, threads),
        *(partial(_ours, package, precision, threads, spin) for precision, package in packages.items()),
        *(partial(_genai, model.generator(name), name, threads, spin) for name in ("fp32", "int4")),
    ]
    read: list[float] = []
    weights = torch.ones(_READ_BYTES // 4)
    with ExitStack() as processes:
        engines = [processes.enter_context(Apart(load)) for load in loads]
        taken: dict[str, list[float]] = {name: [] for engine in engines for name in engine.names}
        for _ in range(rounds):
            start = time.perf_counter()
            weights.sum()
            read.append(_READ_BYTES / (time.perf_counter() - start))
            for engine in engines:
                for name in engine.names:
                    taken[name].append(engine.step_ms(name))
    _print_steps(taken, rounds, spin)
    # No step is shorter than reading the weights once, whoever takes it.
    fastest = statistics.median(read)
    print(f"reading 1 GiB with {threads} threads: {fastest / 1e9:.1f} GB/s; at that, the weights alone take")
    for precision, package in packages.items():
        size = sum(path.stat().st_size for path in package.glob("decoder.onnx*"))
        print(f"  {precision:<36} {1000 * size / fastest:7.1f} ms a step, {size / 1e9:.2f} GB")


def _print_steps(taken: dict[str, list[float]], rounds: int, spin: bool) -> None:
    print(f"decode, {_PROMPT} tokens before, threads {'spin' if spin else 'sleep'} between graph nodes:")
    print(f"ms a step, median (range) of {rounds} rounds; times transformers")
    for name, values in taken.items():
        basis = taken[f"transformers fp32, batch {name[-1]}"]
        ratio = statistics.median(there / here for there, here in zip(basis, values, strict=True))
        low, high = min(values), max(values)
        print(f"  {name:<36} {statistics.median(values):7.1f} ({low:.1f}-{high:.1f})   {ratio:.2f}x")
