"""Metrics: RadVLM's box metric as its code computes it, and a suite that the truth passes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from training.evaluation import Asked, items_of, metrics, run_suite
from training.evaluation.boxes import average_precision, best_constant_box, iou
from training.evaluation.operating_points import fit_operating_point, fit_operating_points
from training.evaluation.reports import mentions
from training.evaluation.table import FLOORS, passed
from training.instructions import Task, answers, sentences
from training.phantoms import Kind, Truth
from training.phantoms.phantom import truth_of

A, B, FAR = (0.1, 0.1, 0.3, 0.3), (0.6, 0.6, 0.9, 0.9), (0.4, 0.0, 0.5, 0.05)


@pytest.mark.parametrize(
    ("predicted", "truth", "expected"),
    [
        ([A, B], [A, B], 1.0),
        ([A], [A, B], 0.5),
        ([FAR, A, B], [A, B], 2 / 3),
        ([A, B, FAR], [A, B], 1.0),
        ([], [A], 0.0),
        ([A], [], 0.0),
        ([A, A], [A], 1.0),
    ],
)
def test_box_metric_is_radvlms(predicted: list[tuple], truth: list[tuple], expected: float) -> None:
    assert average_precision(predicted, truth) == pytest.approx(expected)


def test_boxes_without_area_do_not_divide_by_zero() -> None:
    assert iou((0.2, 0.2, 0.2, 0.2), (0.2, 0.2, 0.2, 0.2)) == 0.0


def test_best_constant_box_is_the_box_that_hits_most() -> None:
    often, seldom = (0.1, 0.1, 0.3, 0.3), (0.6, 0.6, 0.9, 0.9)
    assert best_constant_box([[often]] * 5 + [[seldom]] * 3) == often
    assert best_constant_box([[often, FAR]] * 5 + [[seldom]] * 3) == seldom


class _Oracle:
    """Answers with the truth, found by the question."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self._truths = iter([truth_of(seed) for seed in seeds])

    def answers(self, image: NDArray[np.uint8], asked: Sequence[Asked]) -> list[str]:
        truth = next(self._truths)
        return [_true_answer(item, truth) for item in items_of(truth)]


def _true_answer(item, truth: Truth) -> str:  # type: ignore[no-untyped-def]
    match item.task:
        case Task.CLASSIFICATION:
            return answers.classification(truth.labels)
        case Task.REPORT:
            return sentences.report(truth)
        case Task.DETECTION:
            return answers.detection([(found.label.value, found.boxes) for found in truth.findings])
        case Task.CONVERSATION:
            return item.answer
        case Task.PHRASE:
            return answers.phrase(item.boxes)
        case _:
            return answers.location(item.name, item.boxes)


def test_true_answers_score_full_marks() -> None:
    table = metrics(run_suite(_Oracle(range(50, 80)), count=30, first_seed=50, size_px=32))
    assert table["classification"]["macro_f1"] == pytest.approx(1.0)
    counts = np.array(table["classification"]["confusion"]["counts"])
    assert counts.sum() == np.trace(counts) > 20
    assert table["report"]["contradiction_rate"] == 0.0
    assert table["report"]["side_accuracy"] == 1.0
    assert table["anatomy"]["map50"] == table["detection"]["map50"] == 1.0
    assert table["abnormality"]["map50"] > 0.98  # two decimals cannot hold the thinnest box
    assert table["follow_up"]["accuracy"] > 0.98


def test_floors_decide_task_by_task() -> None:
    measured = {group: {} for group, *_ in FLOORS}
    for group, metric, floor, _ in FLOORS:
        measured[group][metric] = abs(floor)
    baselines = {"abnormality": {"best_box_map50": 0.30}}
    assert all(passed(measured, baselines).values())
    assert not passed(measured, {"abnormality": {"best_box_map50": 0.45}})["abnormality"]
    measured["report"]["side_accuracy"] = 0.5
    verdicts = passed(measured, baselines)
    assert not verdicts["report"] and verdicts["anatomy"]


def test_mentions_read_negations_and_sides() -> None:
    said = mentions("There is no pneumothorax. The heart size is normal. There is a left pleural effusion.")
    assert [(m.label, m.present, m.side) for m in said] == [
        (Kind.PNEUMOTHORAX, False, ""),
        (Kind.CARDIOMEGALY, False, ""),
        (Kind.PLEURAL_EFFUSION, True, "left"),
    ]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(-5, 0), min_size=1, max_size=20, unique=True),
    st.lists(st.floats(1, 5), min_size=1, max_size=20, unique=True),
)
def test_operating_point_separates_what_can_be_separated(absent: list[float], present: list[float]) -> None:
    point = fit_operating_point([*absent, *present], [False] * len(absent) + [True] * len(present))
    assert point.f1 == 1.0
    assert max(absent) < point.threshold <= min(present)


def test_operating_point_needs_both_kinds() -> None:
    with pytest.raises(ValueError, match="present and absent"):
        fit_operating_point([0.1, 0.2], [True, True])


def test_operating_points_are_per_label() -> None:
    truth = [frozenset({"A"}), frozenset({"B"}), frozenset()]
    points = fit_operating_points({"A": [-1.0, -3.0, -2.0], "B": [-9.0, -5.0, -8.0]}, truth)
    assert points["A"].threshold == pytest.approx(-1.5)
    assert points["B"].threshold == pytest.approx(-6.5)
