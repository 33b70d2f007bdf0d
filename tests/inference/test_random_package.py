"""The benchmark of a model of RadVLM's shape: its graphs are real ONNX, and it needs no framework to write them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inference import prompts
from inference.engine import Engine
from inference.requests import Steps
from inference.sessions import open_sessions
from inference.vlm import CacheSize, Vlm
from tests.bench.random_package import SHAPES, random_package

_WITHOUT_FRAMEWORKS = """
import sys
for name in ("onnx", "torch", "transformers"):
    sys.modules[name] = None
from tests.bench.gpu import main
main()
"""
_ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_random_graphs_are_valid_and_the_engine_answers_with_them(tmp_path: Path, precision: str) -> None:
    import onnx

    small = SHAPES["small"]
    package = random_package(
        replace(small, decoder=replace(small.decoder, layers=1, precision=precision)), tmp_path / "package"
    )
    # Of the decoder ONNX's own checker refuses ONNX Runtime's operators; loading it checks it.
    onnx.checker.check_model(package.folder / "vision.onnx", full_check=True)
    vlm = Vlm(package, open_sessions(package.folder, providers=("cpu",), threads=1), size=CacheSize(1, 0))
    vlm._ends = frozenset()

    def asked() -> Steps[tuple[int, ...]]:
        gray = np.random.default_rng(0).integers(0, 255, (150, 150), dtype=np.uint8)
        with (yield from vlm.read_image(vlm.tiles(gray))) as prefix:
            answer = yield from vlm.answer(prefix, prompts.REPORT, longest=12)
            return answer.tokens

    engine = Engine(vlm.decode, slots=1)
    tokens = engine.submit(asked).result()
    engine.close()
    assert len(tokens) == 12
    assert len(set(tokens)) > 3


def test_the_benchmark_runs_without_onnx_torch_and_transformers(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _WITHOUT_FRAMEWORKS, "--shape", "small", "--provider", "cpu"]
    command += ["--threads", "1", "--rounds", "1", "--batch", "2", "--steps", "3", "--prompt", "40"]
    done = subprocess.run(
        [*command, "--folder", str(tmp_path / "package")],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    for said in ("of the roofline", "one reading, 10 tiles", "readings/s", "vision"):
        assert said in done.stdout
