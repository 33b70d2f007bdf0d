"""`raddraft model calibrate`: scores fitted to a site's labels, bound to one model, told in every finding."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clinical import Permanent
from imaging import DecodeLimits
from inference import Calibration, Model, fit_labels, load_model
from inference.calibration import fit_label, open_calibration
from service.calibrating import calibrated, labelled_images
from training.phantoms import displayed, draw
from training.phantoms.phantom import truth_of

_LABEL = "Pleural Effusion"


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    model = load_model(threads=1)
    yield model
    model.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of phantoms and their labels as a site would write them."""
    folder = tmp_path_factory.mktemp("labels")
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["image", _LABEL, "Pneumothorax"])
        labelled = [(seed, _LABEL in truth_of(seed).labels) for seed in range(4_900_000, 4_900_200)]
        there, absent = ([seed for seed, shown in labelled if shown is wanted] for wanted in (True, False))
        for seed in (*there[:15], *absent[:50]):
            pixels, truth = draw(seed, 160)
            name = f"{seed}.png"
            Image.fromarray(displayed(pixels)).save(folder / name)
            rows.writerow([name, int(_LABEL in truth.labels), ""])
    return folder


@settings(max_examples=25, deadline=None)
@given(st.floats(0.3, 4.0), st.floats(-2.0, 2.0), st.integers(0, 1000))
def test_scores_that_are_off_come_back_nearer_to_what_is_seen(
    temperature: float, bias: float, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    odds = generator.normal(0, 2.5, 1500)
    there = generator.random(1500) < 1 / (1 + np.exp(-(odds / temperature + bias)))
    if min(there.sum(), (~there).sum()) < 10:
        return
    fitted = fit_label((1 / (1 + np.exp(-odds))).tolist(), there.tolist())
    assert fitted.ece_after < max(fitted.ece_before, 0.06)


def test_a_label_with_too_few_images_is_left_out_by_name() -> None:
    scores = {"A": [0.1] * 30 + [0.9] * 30, "B": [0.5] * 60}
    fitted, left_out = fit_labels(scores, {"A": [False] * 30 + [True] * 30, "B": [False] * 57 + [True] * 3})
    assert list(fitted) == ["A"] and left_out == ("B",)


def test_a_sites_labels_are_fitted_and_every_score_names_the_file(
    model: Model, folder: Path, tmp_path: Path
) -> None:
    images = labelled_images(folder / "labels.csv", None)
    result = calibrated(model, images, "our labels", DecodeLimits())
    assert list(result.calibration.labels) == [_LABEL] and "Pneumothorax" in result.left_out
    out = tmp_path / "calibration.json"
    sha256 = result.write(out)
    served = load_model(threads=1, calibration=out)
    try:
        reading = served.read(images[0].path)
    finally:
        served.close()
    scores = {f.label.name: f.score for f in reading.findings if f.score}
    assert scores[_LABEL].calibration_id == f"our labels {sha256[:16]}"
    assert scores[_LABEL].calibrated is not None
    assert scores["Pneumothorax"].calibrated is None and scores["Pneumothorax"].calibration_id == ""
    assert reading.model.calibration_sha256 == sha256
    assert reading.model.weights_sha256 == model.identity.weights_sha256


def test_too_few_labels_are_refused_in_words(model: Model, folder: Path, tmp_path: Path) -> None:
    few = {str(folder / f"{4_900_000 + n}.png"): {_LABEL: n % 2} for n in range(6)}
    (tmp_path / "few.json").write_text(json.dumps(few))
    with pytest.raises(Permanent, match="too-few-labels"):
        calibrated(model, labelled_images(tmp_path / "few.json", None), "s", DecodeLimits())


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("image,A\nmissing.png,1\n", "image-missing"),
        ("file,A\nx.png,1\n", "labels-unreadable"),
        ("image,A\nx.png,maybe\n", "labels-unreadable"),
    ],
)
def test_labels_that_cannot_be_used_say_why(tmp_path: Path, text: str, code: str) -> None:
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(Permanent, match=code):
        labelled_images(tmp_path / "labels.csv", None)


def test_a_calibration_of_another_model_is_refused(tmp_path: Path) -> None:
    other = Calibration(weights_sha256="0" * 64, prompts_sha256="0" * 64, source="s", images=1, labels={})
    (tmp_path / "c.json").write_text(other.model_dump_json())
    with pytest.raises(Permanent, match="calibration-of-another-model"):
        load_model(threads=1, calibration=tmp_path / "c.json")
    (tmp_path / "c.json").write_text("{}")
    with pytest.raises(Permanent, match="calibration-unreadable"):
        open_calibration(tmp_path / "c.json", weights_sha256="", prompts_sha256="")
