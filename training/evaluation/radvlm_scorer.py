"""RadVLM's metrics as its evaluation computes them, quirks included (Deperrois et al., arXiv 2502.03333).

Boxes: a per-sample average precision over boxes in text order, averaged over samples; false boxes after the
last hit cost nothing, an empty prediction is 0. Labels: a label counts as named where its text occurs, denied or
not. Numbers of this module may be compared with the paper's; those of `strict_scorer` say more.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from inference.box_text import FractionBox
from training.evaluation.boxes import average_precision, iou
from training.evaluation.labels import named_labels

_BOX = re.compile(r"\[([\d\.]+),\s*([\d\.]+),\s*([\d\.]+),\s*([\d\.]+)\]")


class Unscorable(ValueError):
    """The reference's evaluation stops with an error at this answer."""


@dataclass(frozen=True, slots=True)
class BoxScores:
    """`map50`, and the mean IoU over all pairs of predicted and true boxes (not a mean of best overlaps)."""

    map50: float
    pairwise_iou_radvlm: float


@dataclass(frozen=True, slots=True)
class LabelScores:
    """Precision, recall and F1 over the labels: macro (their mean) and micro (over all decisions)."""

    macro_precision: float
    macro_recall: float
    macro_f1: float
    micro_precision: float
    micro_recall: float
    micro_f1: float
    f1: dict[str, float]


def read_boxes_as_reference(answer: str) -> tuple[FractionBox, ...]:
    """Boxes by the reference's pattern: no sign, no blank after the bracket, any order of corners.

    Raises Unscorable for a number such as ``0.1.2``, which the pattern takes and `float` does not.
    """
    boxes = []
    for numbers in _BOX.findall(answer):
        try:
            x1, y1, x2, y2 = map(float, numbers)
        except ValueError:
            raise Unscorable("a box holds something that is no number") from None
        boxes.append((x1, y1, x2, y2))
    return tuple(boxes)


def box_scores(samples: Sequence[tuple[str, Sequence[FractionBox]]]) -> BoxScores:
    """Scores of (answer, true boxes) pairs; raises Unscorable where the reference would stop."""
    precisions, overlaps = [], []
    for answer, truth in samples:
        predicted = read_boxes_as_reference(answer)
        pairs = [_checked_iou(box, true) for box in predicted for true in truth]
        precisions.append(average_precision(predicted, truth))
        overlaps += pairs
    return BoxScores(
        float(np.mean(precisions)) if precisions else 0.0, float(np.mean(overlaps)) if overlaps else 0.0
    )


def _checked_iou(first: FractionBox, second: FractionBox) -> float:
    area = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second))
    if area == 0:
        raise Unscorable("two boxes without area: the reference divides by zero")
    return iou(first, second)


def label_scores(samples: Sequence[tuple[str, Sequence[str]]], labels: Sequence[str]) -> LabelScores:
    """Scores of (answer, labels present) pairs; a label never named nor present scores 0, as scikit-learn's default."""
    said = [named_labels(answer, labels) for answer, _ in samples]
    there = [frozenset(present) for _, present in samples]
    counts = [
        (
            sum(label in s and label in t for s, t in zip(said, there, strict=True)),
            sum(label in s for s in said),
            sum(label in t for t in there),
        )
        for label in labels
    ]
    by_label = [_rates(*count) for count in counts]
    precision, recall, f1 = (float(np.mean(column)) for column in zip(*by_label, strict=True))
    both, named, present = (sum(column) for column in zip(*counts, strict=True))
    return LabelScores(
        precision, recall, f1, *_rates(both, named, present),
        f1={label: scores[2] for label, scores in zip(labels, by_label, strict=True)},
    )  # fmt: skip


def _rates(both: int, said: int, there: int) -> tuple[float, float, float]:
    """Precision, recall, F1."""
    precision = both / said if said else 0.0
    recall = both / there if there else 0.0
    return precision, recall, 2 * both / (said + there) if said + there else 0.0
