"""RadVLM's box metric: per-sample average precision at IoU 0.5 with boxes in text order, averaged over samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from inference.box_text import FractionBox

IOU_THRESHOLD = 0.5


def iou(first: FractionBox, second: FractionBox) -> float:
    """Intersection over union of two boxes (x1, y1, x2, y2); 0 where the union has no area."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    shared = max(width, 0.0) * max(height, 0.0)
    union = _area(first) + _area(second) - shared
    return shared / union if union > 0 else 0.0


def _area(box: FractionBox) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def average_precision(predicted: Sequence[FractionBox], truth: Sequence[FractionBox]) -> float:
    """All-points average precision of one answer.

    Each predicted box, in text order, may claim only the true box it overlaps most; a claimed one makes it a
    false positive. No prediction or no truth gives 0; false positives after the last hit cost nothing.
    """
    if not predicted or not truth:
        return 0.0
    claimed: set[int] = set()
    hits = np.zeros(len(predicted))
    for index, box in enumerate(predicted):
        overlaps = [iou(box, true) for true in truth]
        best = int(np.argmax(overlaps))
        if overlaps[best] >= IOU_THRESHOLD and best not in claimed:
            claimed.add(best)
            hits[index] = 1
    found = np.cumsum(hits)
    recall = np.concatenate([[0.0], found / len(truth), [1.0]])
    precision = np.concatenate([[0.0], found / np.arange(1, len(predicted) + 1), [0.0]])
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    steps = np.flatnonzero(recall[1:] != recall[:-1])
    return float(np.sum((recall[steps + 1] - recall[steps]) * precision[steps + 1]))


def mean_average_precision(
    pairs: Sequence[tuple[Sequence[FractionBox], Sequence[FractionBox]]],
) -> float:
    """Mean of `average_precision` over (predicted, true) pairs; 0 for none."""
    return float(np.mean([average_precision(*pair) for pair in pairs])) if pairs else 0.0


def best_constant_box(boxes: Sequence[Sequence[FractionBox]]) -> FractionBox:
    """The one box that scores best when always given: tried are the mean, the median and up to 300 seen boxes."""
    flat = np.array([box for sample in boxes for box in sample])
    # A single box hits one true box at most: it earns 1 / (number of true boxes) where it overlaps any of them.
    worth = np.concatenate([np.full(len(sample), 1 / len(sample)) for sample in boxes])
    sample_of = np.concatenate([np.full(len(sample), index) for index, sample in enumerate(boxes)])
    step = max(1, len(flat) // 300)
    candidates = np.concatenate([[flat.mean(axis=0), np.median(flat, axis=0)], flat[::step]])
    scores = []
    for candidate in candidates:
        hit = _overlaps(candidate, flat) >= IOU_THRESHOLD
        _, first = np.unique(sample_of[hit], return_index=True)
        scores.append(worth[hit][first].sum())
    return _box(candidates[int(np.argmax(scores))])


def _overlaps(box: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=1)
    union = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1) - shared
    ratio: NDArray[np.float64] = shared / union
    return ratio


def mean_box(boxes: Sequence[FractionBox]) -> FractionBox:
    """Mean of each edge."""
    return _box(np.array(boxes).mean(axis=0))


def _box(edges: NDArray[np.float64]) -> FractionBox:
    x1, y1, x2, y2 = (float(edge) for edge in edges)
    return (x1, y1, x2, y2)
