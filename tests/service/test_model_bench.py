"""`raddraft model bench`: a site sees what it pays and what it gets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from service.cli.models import app


def _run(*arguments: str) -> Any:
    result = CliRunner().invoke(app, ["bench", "--threads", "1", "--json", *arguments])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_bench_tells_time_by_stage_and_memory() -> None:
    found = _run("--readings", "2", "--size", "160")
    assert found["readings"] == 2 and found["reading_s"] > 0 and found["cache_mib"] > 0
    assert {"vision_s", "prefill_s", "report_s", "classification_s"} <= found.keys()
    assert "CPUExecutionProvider" in found["engine"]


def test_fewer_tokens_are_compared_with_the_full_setting() -> None:
    rows = _run("--tokens", "--readings", "3", "--size", "300")
    assert rows[0]["setting"] == "full" and rows[0]["same_presence"] == rows[0]["same_report"] == 1.0
    assert {"downscale_to = 256", "downscale_to = 128"} <= {row["setting"] for row in rows[1:]}
    assert all(0 <= row["same_presence"] <= 1 for row in rows)


@pytest.mark.parametrize("suffix", [".png"])
def test_a_sites_own_images_are_measured(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(np.full((90, 120), 77, dtype=np.uint8)).save(tmp_path / f"image{suffix}")
    assert _run("--image", str(tmp_path / f"image{suffix}"))["readings"] == 1
