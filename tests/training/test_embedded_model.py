"""The shipped model through the serving code, on phantoms it never saw."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from inference.manifest import open_package
from training.evaluation import metrics, run_suite
from training.evaluation.onnx_answerer import OnnxAnswerer
from training.evaluation.raw_scores import phantom_scores
from training.evaluation.reports import mentions
from training.evaluation.suite import Asked, named_labels
from training.instructions import questions, sentences
from training.phantoms import LABELS, REGIONS, displayed, draw

SEEDS = range(7_000_000, 7_000_008)


@pytest.fixture(scope="module")
def answerer() -> Iterator[OnnxAnswerer]:
    opened = OnnxAnswerer("embedded", threads=1)
    yield opened
    opened.close()


def test_manifest_says_what_was_trained_and_measured() -> None:
    manifest = open_package("embedded").manifest
    assert manifest.labels == LABELS and manifest.regions == REGIONS
    assert set(manifest.operating_points) == set(LABELS)
    assert "NOT FOR CLINICAL USE" in manifest.statement
    assert all(state.measured for state in manifest.tasks.values())


def test_unseen_phantoms_are_read_right(answerer: OnnxAnswerer) -> None:
    table = metrics(run_suite(answerer, count=len(SEEDS), first_seed=SEEDS.start))
    counts = np.array(table["classification"]["confusion"]["counts"])
    assert np.trace(counts) >= 0.75 * counts.sum()
    assert table["classification"]["exact_set"] >= 0.5  # all 16 labels right
    assert table["anatomy"]["map50"] >= 0.8
    assert table["abnormality"]["map50"] >= 0.7
    assert table["report"]["contradiction_rate"] <= 0.05
    assert table["report"]["side_accuracy"] == 1.0
    assert table["follow_up"]["accuracy"] >= 0.8


def test_mirrored_phantoms_are_read_by_the_side_of_the_image(answerer: OnnxAnswerer) -> None:
    swapped = agreed = 0
    for seed in SEEDS:
        pixels, truth = draw(seed)
        mirrored = np.ascontiguousarray(displayed(pixels)[:, ::-1])
        (said,) = answerer.answers(mirrored, [Asked("Provide a radiology report for this Chest X-Ray.")])
        true = {m.label: m.side for m in mentions(sentences.report(truth)) if m.present}
        for mention in mentions(said):
            side = true.get(mention.label, "")
            if mention.present and side in {"right", "left"}:
                swapped += mention.side not in {side, ""}
                agreed += mention.side == side
    assert swapped >= 5 and agreed == 0


def test_follow_up_is_answered_from_the_history_not_from_the_image(answerer: OnnxAnswerer) -> None:
    image = displayed(draw(SEEDS.start)[0])
    asked = "Where is the consolidation located in this Chest X-ray?"
    right, left = (
        Asked(
            questions.SIDE, ((asked, f"The consolidation is located at the coordinates {box} on the image."),)
        )
        for box in ("[0.25, 0.3, 0.4, 0.45]", "[0.62, 0.3, 0.78, 0.45]")
    )
    said = answerer.answers(image, [right, left])
    assert "right" in said[0] and "left" in said[1]


def test_labels_that_are_there_score_higher(answerer: OnnxAnswerer) -> None:
    scores, truth = phantom_scores("embedded", count=8, first_seed=SEEDS.start)
    there = [scores[label][i] for label in LABELS for i, seen in enumerate(truth) if label in seen]
    absent = [scores[label][i] for label in LABELS for i, seen in enumerate(truth) if label not in seen]
    assert np.mean(there) > np.mean(absent) + 0.5


def test_labels_named_are_the_labels_of_the_answer() -> None:
    assert named_labels("The Chest X-ray shows lung lesion.", LABELS) == {"Lung Lesion"}
