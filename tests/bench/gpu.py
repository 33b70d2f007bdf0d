"""A random model of RadVLM's exact 7B shape on a GPU: decode beside the memory roofline, whole readings, batches.

``python -m tests.bench.gpu [--shape radvlm-7b] [--provider cuda] [--bandwidth-gb-s 3350]``; needs this repository, an
onnxruntime with CUDA and the package `onnx`, and nothing else: the graph is written here with random weights, operator
by operator as onnxruntime-genai's builder writes it. ``--shape small --provider cpu`` runs everywhere. A program, not a
test; what it prints holds for the machine it ran on.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from inference.cache import CacheRow
from inference.decoder import Decoder
from inference.requests import Decode
from inference.sessions import DeviceOptions, _provider_options, _session_options
from tests.bench.random_graph import Shape, write_decoder

SHAPES = {
    "radvlm-7b": Shape(
        layers=28, width=3584, heads=28, kv_heads=4, mlp=18944, vocabulary=152128, precision="fp16"
    ),
    "small": Shape(layers=4, width=256, heads=4, kv_heads=2, mlp=512, vocabulary=2000, precision="fp32"),
}
_PROVIDERS = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}
_CHUNK = 512


@dataclass(frozen=True)
class Bench:
    """A decoder with random weights and what its bytes are."""

    decoder: Decoder
    shape: Shape

    @classmethod
    def open(cls, shape: Shape, folder: Path, provider: str, rows: int, capacity: int) -> Bench:
        """Write the graph where it is not yet, and load it."""
        import onnxruntime as ort

        path = folder / "decoder.onnx"
        if not path.exists():
            write_decoder(shape, path)
        options = DeviceOptions(allow_cpu_fallback=True)
        name = _PROVIDERS[provider]
        session = ort.InferenceSession(
            str(path),
            _session_options(ort, None, options),
            providers=[(name, _provider_options(name, folder, options))],
        )
        chosen = session.get_providers()[0]
        print(f"onnxruntime {ort.__version__}, {chosen}")
        device = "cuda" if chosen == _PROVIDERS["cuda"] else "cpu"
        sessions: Any = SimpleNamespace(decoder=session, device=device)
        draws = np.random.default_rng(1)
        embeddings = draws.standard_normal((shape.vocabulary, shape.width), dtype=np.float32)
        embeddings = embeddings.astype(shape.storage)
        decoder = Decoder(
            sessions, embeddings, head_size=shape.head_size, rows=rows, reserve=0, capacity=capacity
        )
        return cls(decoder, shape)

    def prefill(self, row: CacheRow, tokens: int) -> float:
        """Read a prompt in chunks; seconds."""
        ids = np.random.default_rng(2).integers(0, self.shape.vocabulary, tokens).tolist()
        start = time.perf_counter()
        for at in range(0, tokens, _CHUNK):
            self.decoder.prefill(row, self.decoder.embed(ids[at : at + _CHUNK]))
        return time.perf_counter() - start

    def steps(self, rows: list[CacheRow], count: int) -> float:
        """Median milliseconds of a decode step."""
        taken = []
        tokens = [scores.best for scores in self.decoder.step([Decode(row, 17) for row in rows])]
        for _ in range(count):
            start = time.perf_counter()
            found = self.decoder.step([Decode(row, token) for row, token in zip(rows, tokens, strict=True)])
            tokens = [scores.best for scores in found]
            taken.append(1000 * (time.perf_counter() - start))
        return statistics.median(taken)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="decode speed of a random model of RadVLM's shape")
    parser.add_argument("--shape", choices=SHAPES, default="radvlm-7b")
    parser.add_argument("--provider", choices=_PROVIDERS, default="cuda")
    parser.add_argument("--prompt", type=int, default=7300, help="image tokens")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--questions", type=int, default=8)
    parser.add_argument("--bandwidth-gb-s", type=float, default=None, help="of the device's memory")
    parser.add_argument("--folder", type=Path, default=None)
    arguments = parser.parse_args()
    shape = SHAPES[arguments.shape]
    folder = arguments.folder or Path("runs") / "bench" / f"graph-{arguments.shape}"
    folder.mkdir(parents=True, exist_ok=True)
    capacity = arguments.prompt + 2 * arguments.steps + 256
    bench = Bench.open(shape, folder, arguments.provider, arguments.batch, capacity)
    first = bench.decoder.pool.take()
    assert first is not None
    bench.prefill(first, min(_CHUNK, arguments.prompt))
    first.length = 0
    prefill_s = bench.prefill(first, arguments.prompt)
    print(f"prefill of {arguments.prompt} tokens: {prefill_s:.2f} s")
    start = time.perf_counter()
    rows = [first]
    for _ in range(arguments.batch - 1):
        row = bench.decoder.pool.fork(first, arguments.prompt)
        assert row is not None
        rows.append(row)
    forks = max(1, arguments.batch - 1)
    print(f"fork of the prefix: {1000 * (time.perf_counter() - start) / forks:.1f} ms each")
    for batch in sorted({1, min(4, arguments.batch), arguments.batch}):
        for row in rows:
            row.length = arguments.prompt
        step_ms = bench.steps(rows[:batch], arguments.steps)
        moved = shape.step_bytes(batch, arguments.prompt)
        line = f"decode, batch {batch}: {step_ms:.2f} ms a step, {1000 * batch / step_ms:.0f} tokens/s, "
        line += f"{moved / step_ms / 1e6:.0f} GB/s"
        if arguments.bandwidth_gb_s:
            line += f" = {100 * moved / step_ms / 1e6 / arguments.bandwidth_gb_s:.0f} % of the roofline"
        print(line)
    _reading(bench, rows, arguments.questions, arguments.steps, arguments.prompt, prefill_s)


def _reading(
    bench: Bench, rows: list[CacheRow], questions: int, tokens: int, prompt: int, prefill_s: float
) -> None:
    """Questions of one image in batches on its prefix, beside its prefill.

    Not measured here: the vision tower (TensorRT or CUDA), and transformers on the same GPU.
    """
    start = time.perf_counter()
    for at in range(0, questions, len(rows)):
        chosen = rows[: min(len(rows), questions - at)]
        for row in chosen:
            row.length = prompt
            bench.prefill(row, 20)
        bench.steps(chosen, tokens)
    answering_s = time.perf_counter() - start
    whole = prefill_s + answering_s
    print(f"one reading without vision: {questions} questions of {tokens} tokens: {whole:.2f} s")
    print(
        f"  {prefill_s:.2f} s prefill, {answering_s:.2f} s answers: {1 / whole:.2f} readings/s one after another"
    )


if __name__ == "__main__":
    main()
