"""`raddraft model familiarise`: a site's own images make what a model knows; others are left out and counted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from typer.testing import CliRunner

from clinical import CheckStatus, Permanent
from inference import load_model
from service.cli.models import app
from training.phantoms import displayed, draw
from training.phantoms.dicom import VARIANTS, write_phantom


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fifty-two frontal phantoms and twenty that call themselves lateral (drawn squeezed), and a child's."""
    folder = tmp_path_factory.mktemp("site")
    for number in range(73):
        path = folder / f"{number}.dcm"
        write_phantom(path, 9_850_000 + number, VARIANTS[number % 2], size_px=208)
        if number < 52:
            continue
        dataset = dcmread(path)
        if number == 72:
            dataset.PatientAge = "005Y"
        else:
            dataset.ViewPosition = "LL"
            pixels = dataset.pixel_array.copy()
            pixels[:, : pixels.shape[1] // 2] = pixels[:, ::2]
            dataset.PixelData = pixels.tobytes()
        dataset.save_as(path)
    return folder


def test_a_fit_on_site_images_makes_both_checks_run(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "site.json"
    arguments = ["familiarise", str(folder), "--out", str(out), "--model", "embedded", "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["images"] == 52 and told["left_out"] == 1 and told["view"]["laterals"] == 20
    model = load_model(threads=1, familiarity=out)
    try:
        checks = {check.name: check for check in model.read(displayed(draw(9_851_000, 208)[0])).checks}
        assert checks["view-by-pixels"].status is CheckStatus.PASS
        assert "site images" in checks["familiarity"].evidence
        picture = displayed(draw(9_851_001, 208)[0])
        squeezed = np.concatenate([picture[:, ::2], picture[:, 104:]], axis=1)
        verdict = {check.name: check for check in model.read(squeezed).checks}["view-by-pixels"]
        assert verdict.status is CheckStatus.FAIL and "lateral" in verdict.evidence
    finally:
        model.close()


def test_too_few_images_are_said(folder: Path, tmp_path: Path) -> None:
    arguments = [
        "familiarise",
        str(folder / "0.dcm"),
        "--out",
        str(tmp_path / "x.json"),
        "--model",
        "embedded",
    ]
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, Permanent) and result.exception.code == "too-few-images"
    assert not (tmp_path / "x.json").exists()
