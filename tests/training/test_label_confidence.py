"""Probabilities against the truth: calibration error, curves and confusion."""

from __future__ import annotations

import numpy as np
import pytest

from training.evaluation.label_confidence import Confidences, confusion

_A, _B = frozenset({"a"}), frozenset({"b"})
_NONE: frozenset[str] = frozenset()


def _confidences(stated: list[float], there: list[bool]) -> Confidences:
    return Confidences.of([{"a": one} for one in stated], [_A if one else _NONE for one in there], ["a", "b"])


def test_labels_without_a_probability_are_left_out() -> None:
    assert _confidences([0.5], [True]).labels == ("a",)


def test_calibration_error_is_nought_where_frequencies_are_as_stated() -> None:
    right = _confidences([0.75] * 4 + [0.0] * 4, [True, True, True, False] + [False] * 4)
    wrong = _confidences([1.0] * 4, [False] * 4)
    assert right.ece(np.arange(8)) == pytest.approx(0.0)
    assert wrong.ece(np.arange(4)) == pytest.approx(1.0)
    assert [one["n"] for one in right.reliability()] == [4, 4]


def test_average_precision_is_that_of_the_ranking() -> None:
    curve = _confidences([0.9, 0.8, 0.7, 0.6], [True, False, True, False]).curves()["a"]
    assert curve["recall"] == [0.5, 0.5, 1.0, 1.0]
    assert curve["precision"] == [1.0, 0.5, pytest.approx(2 / 3), 0.5]
    assert curve["average_precision"] == pytest.approx((1 + 2 / 3) / 2)


def test_equal_scores_are_one_threshold() -> None:
    curve = _confidences([0.5] * 4, [True, False, False, False]).curves()["a"]
    assert curve["precision"] == [0.25]


def test_confusion_counts_what_was_taken_for_what() -> None:
    said = [_A, _B, _NONE, _A, _NONE]
    there = [_A, _A, _A, _NONE, _NONE]
    assert confusion(said, there, ["a", "b"]) == [[1, 1, 1], [0, 0, 0], [1, 0, 0]]
