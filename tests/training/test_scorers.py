"""Scorers: RadVLM's own definitions, quirk by quirk, and what the strict ones see beyond them."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pycocotools")

from training.evaluation.bootstrap import estimate
from training.evaluation.coco import coco_map
from training.evaluation.radvlm_scorer import Unscorable, box_scores, label_scores
from training.evaluation.strict_scorer import (
    Answered,
    contradictions,
    decisions,
    false_boxes,
    omissions,
    right_sides,
)

A, B = (0.1, 0.1, 0.3, 0.3), (0.6, 0.6, 0.9, 0.9)
FAR = "[0.4, 0.1, 0.5, 0.2]"
TEXT_A, TEXT_B = "[0.1, 0.1, 0.3, 0.3]", "[0.6, 0.6, 0.9, 0.9]"


@pytest.mark.parametrize(
    ("answer", "truth", "expected"),
    [
        (f"{TEXT_A} and {TEXT_B}", (A, B), 1.0),
        (TEXT_A, (A, B), 0.5),
        (f"{FAR}, {TEXT_A} and {TEXT_B}", (A, B), 2 / 3),
        (f"{TEXT_A}, {TEXT_B} and {FAR}", (A, B), 1.0),
        ("There is none.", (A, B), 0.0),
        (TEXT_A, (), 0.0),
        (f"{TEXT_A}, {TEXT_A}", (A, B), 0.5),
    ],
    ids=["both", "one of two", "false box first", "false box last", "no box", "no truth", "same box twice"],
)
def test_compat_boxes_give_the_references_executed_values(
    answer: str, truth: tuple[tuple[float, float, float, float], ...], expected: float
) -> None:
    assert box_scores([(answer, truth)]).map50 == pytest.approx(expected)


def test_compat_iou_is_the_mean_over_all_pairs() -> None:
    assert box_scores([(f"{TEXT_A} and {TEXT_B}", (A, B))]).pairwise_iou_radvlm == pytest.approx(0.5)
    assert box_scores([("none", (A,)), (TEXT_A, (A,))]).pairwise_iou_radvlm == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("answer", "boxes"),
    [("[-0.1, 0.1, 0.3, 0.3]", 0), ("[ 0.1, 0.1, 0.3, 0.3]", 0), ("(0.1, 0.1, 0.3, 0.3)", 0), (TEXT_A, 1)],
)
def test_compat_pattern_takes_what_the_references_pattern_takes(answer: str, boxes: int) -> None:
    assert box_scores([(answer, (A,))]).map50 == float(boxes)


@pytest.mark.parametrize("answer", ["[0.1.2, 0.1, 0.3, 0.3]", "[0.1, 0.1, 0.1, 0.1]"])
def test_answers_that_stop_the_reference_are_named_not_scored(answer: str) -> None:
    with pytest.raises(Unscorable):
        box_scores([(answer, ((0.2, 0.2, 0.2, 0.2),))])


def test_compat_labels_are_blind_to_denial_and_strict_ones_are_not() -> None:
    vocabulary = ("Edema", "Pneumothorax")
    answer = "There is edema. No pneumothorax."
    compat = label_scores([(answer, ["Edema"])], vocabulary)
    assert (compat.macro_f1, compat.micro_precision, compat.micro_recall) == (0.5, 0.5, 1.0)
    strict = decisions([Answered("p", answer, labels=frozenset({"Edema"}))], vocabulary)
    assert strict.macro_f1(np.arange(1)) == 1.0
    assert strict.by_finding()["Pneumothorax"] == {"sensitivity": None, "specificity": 1.0, "positives": 0}


def test_compat_counts_a_label_never_named_nor_present_as_zero() -> None:
    scores = label_scores([("Edema.", ["Edema"])], ("Edema", "Fracture"))
    assert scores.macro_f1 == 0.5 and scores.micro_f1 == 1.0 and scores.f1 == {"Edema": 1.0, "Fracture": 0.0}


def test_box_for_an_absent_finding_is_a_false_box() -> None:
    samples = [Answered("p", TEXT_A, absent=True), Answered("q", "It is not there.", absent=True)]
    assert false_boxes([*samples, Answered("r", "none", boxes=(A,))]).share(np.arange(3)) == 0.5


def test_side_of_the_box_counts_and_a_box_over_the_midline_does_not() -> None:
    samples = [
        Answered("p", TEXT_A, boxes=(A,)),
        Answered("q", TEXT_B, boxes=(A,)),
        Answered("r", TEXT_B, boxes=((0.3, 0.3, 0.7, 0.7),)),
        Answered("s", "nothing", boxes=(B,)),
    ]
    assert right_sides(samples).share(np.arange(4)) == pytest.approx(1 / 3)


def test_report_is_held_against_its_reference_finding_by_finding() -> None:
    vocabulary = ("Edema", "Pleural Effusion", "Pneumothorax")
    sample = Answered(
        "p", "Mild edema. No pleural effusion.", reference="No edema. Small pleural effusion. Pneumothorax."
    )
    assert contradictions([sample], vocabulary).share(np.arange(1)) == 1.0
    assert omissions([sample], vocabulary).share(np.arange(1)) == 1.0
    assert np.isnan(contradictions([Answered("p", "", reference="Edema.")], vocabulary).share(np.arange(1)))


def test_coco_makes_a_trailing_false_box_cost_something() -> None:
    assert coco_map([("a", [A, B], [A, B])]) == (pytest.approx(1.0), pytest.approx(1.0))
    assert coco_map([("a", [A, (0.4, 0.1, 0.5, 0.2)], [A])])[1] <= 1.0
    assert coco_map([("a", [A], [A]), ("a", [B], [A])])[1] < 1.0
    assert coco_map([("a", [], [A])]) == (0.0, 0.0)


def test_interval_is_drawn_over_patients_not_images() -> None:
    values = np.array([1.0] * 50 + [0.0] * 50)
    by_image = estimate(range(100), lambda chosen: float(values[chosen].mean()))
    by_patient = estimate([0] * 50 + [1] * 50, lambda chosen: float(values[chosen].mean()))
    assert by_image.value == by_patient.value == 0.5
    assert by_image.low is not None and by_image.high is not None and by_image.high - by_image.low < 0.25
    assert (by_patient.low, by_patient.high) == (0.0, 1.0)
    assert estimate(["one"], lambda chosen: 1.0).low is None


@pytest.mark.filterwarnings("error")
def test_what_is_a_number_in_no_draw_has_no_interval_and_warns_of_nothing() -> None:
    nowhere = estimate(["one", "two"], lambda chosen: float("nan"), resamples=10)
    assert (nowhere.low, nowhere.high, nowhere.n) == (None, None, 2)
