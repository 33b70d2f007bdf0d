"""Weighted box fusion of several readers' boxes (Solovyev et al., Image and Vision Computing 107, 2021).

All readers count alike (score 1), so a fused box is the mean of its cluster. RadVLM fuses VinDr-CXR at an
overlap of only 0.1, which joins neighbouring lesions; that is kept, because its numbers depend on it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from inference.box_text import FractionBox
from training.evaluation.boxes import iou

RADVLM_IOU = 0.1
_DECIMALS = 3


def fuse_boxes(boxes: Sequence[FractionBox], iou_threshold: float = RADVLM_IOU) -> tuple[FractionBox, ...]:
    """Fused boxes, edges rounded to three decimals, in the order the reference implementation gives them.

    Equal scores make that implementation visit the boxes last to first and hand the clusters back reversed;
    the order matters, because the paper's box metric reads boxes in text order. Boxes are cut to the image;
    one without area is left out.
    """
    clusters: list[list[FractionBox]] = []
    fused: list[FractionBox] = []
    for box in reversed([_inside(box) for box in boxes]):
        if box[0] >= box[2] or box[1] >= box[3]:
            continue
        overlaps = [iou(other, box) for other in fused]
        best = max(range(len(fused)), key=overlaps.__getitem__, default=-1)
        if best >= 0 and overlaps[best] > iou_threshold:
            clusters[best].append(box)
            fused[best] = _mean(clusters[best])
        else:
            clusters.append([box])
            fused.append(box)
    return tuple(_rounded(box) for box in reversed(fused))


def _inside(box: FractionBox) -> FractionBox:
    x1, y1, x2, y2 = (min(max(edge, 0.0), 1.0) for edge in box)
    return (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))


def _mean(boxes: Sequence[FractionBox]) -> FractionBox:
    """Mean in single precision, box by box, as the reference adds: the third decimal depends on it."""
    total = np.zeros(4, dtype=np.float32)
    for box in boxes:
        total += np.asarray(box, dtype=np.float64)
    x1, y1, x2, y2 = (total / np.float32(len(boxes))).tolist()
    return (x1, y1, x2, y2)


def _rounded(box: FractionBox) -> FractionBox:
    x1, y1, x2, y2 = (round(edge, _DECIMALS) for edge in box)
    return (x1, y1, x2, y2)
