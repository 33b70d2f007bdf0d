"""Operating points: for each label, the raw score from which it is called present."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A label is called present when its raw score is at least `threshold`; `f1` is what that gave when fitted."""

    threshold: float
    f1: float
    positives: int
    negatives: int


def fit_operating_point(scores: Sequence[float], present: Sequence[bool]) -> OperatingPoint:
    """Threshold of highest F1, halfway between the two scores it separates (the lower one among equals).

    Raises ValueError where a label is never or always present, or the lengths differ.
    """
    pairs = sorted(zip(scores, present, strict=True), reverse=True)
    positives = sum(present)
    if not 0 < positives < len(pairs):
        raise ValueError("an operating point needs present and absent examples")
    best_f1, best_threshold, true = -1.0, 0.0, 0
    for index, (score, there) in enumerate(pairs):
        true += there
        following = pairs[index + 1][0] if index + 1 < len(pairs) else score - 1.0
        if following == score:
            continue
        f1 = 2 * true / (index + 1 + positives)
        if f1 >= best_f1:
            best_f1, best_threshold = f1, (score + following) / 2
    return OperatingPoint(best_threshold, best_f1, positives, len(pairs) - positives)


def fit_operating_points(
    scores: Mapping[str, Sequence[float]], truth: Sequence[frozenset[str]]
) -> dict[str, OperatingPoint]:
    """An operating point for each label; `scores[label]` holds one raw score per image, `truth` its labels."""
    return {
        label: fit_operating_point(values, [label in labels for labels in truth])
        for label, values in scores.items()
    }
