"""Exports by the command line: a precision loads and answers; what cannot be exported is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from inference import load_model, open_package
from service.cli.app import build_app
from tests.inference.checkpoint import write_random_checkpoint

pytest.importorskip("torch")
pytest.importorskip("onnxruntime_genai")
_QUESTIONS = [("What do you see?", ())]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_checkpoint(tmp_path_factory.mktemp("checkpoint"))


def test_a_quantised_export_is_smaller_says_so_and_answers(checkpoint: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        build_app(),
        ["model", "export", str(checkpoint), "--out", str(tmp_path / "int8"), "--precision", "int8"],
    )
    assert done.exit_code == 0, done.output
    assert open_package(tmp_path / "int8").manifest.precision == "int8"
    model = load_model(tmp_path / "int8", threads=1)
    (answer,) = model.answers(np.full((64, 64), 128, dtype=np.uint8), _QUESTIONS)
    model.close()
    assert len(set(answer.tokens)) > 1
    check = CliRunner().invoke(build_app(), ["model", "check", str(tmp_path / "int8"), "--json"])
    assert check.exit_code == 0 and json.loads(check.output)["files"] == "whole"


@pytest.mark.parametrize(
    ("family", "reason"), [("qwen3_vl", "DeepStack"), ("llama", "only llava_onevision can be exported")]
)
def test_another_family_is_refused_with_its_reason(
    checkpoint: Path, tmp_path: Path, family: str, reason: str
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text(json.dumps({"model_type": family}))
    done = CliRunner().invoke(
        build_app(), ["model", "export", str(other), "--out", str(tmp_path / "package")]
    )
    assert done.exit_code == 2
    assert reason in " ".join(done.output.replace("│", " ").split())
    assert not (tmp_path / "package").exists()


def test_a_folder_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(build_app(), ["model", "export", str(tmp_path), "--out", str(tmp_path / "out")])
    assert done.exit_code == 2
