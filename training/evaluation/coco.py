"""COCO's box metric by pycocotools, beside RadVLM's own, which it is not comparable with."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from inference.box_text import FractionBox

# Fractions are scaled to this side, so that COCO's notions of area and its rounding mean something.
_SIDE_PX = 1000.0

Sample = tuple[str, Sequence[FractionBox], Sequence[FractionBox]]


def coco_map(samples: Sequence[Sample]) -> tuple[float, float]:
    """(mAP at IoU 0.50 to 0.95, mAP at 0.50) over (category, predicted boxes, true boxes).

    A text answer has no scores, so every box counts 1.0 and order decides nothing; a false box costs precision
    wherever it stands. 0 for both where nothing is predicted at all.
    """
    categories = {name: index for index, name in enumerate(sorted({name for name, _, _ in samples}), start=1)}
    images = [{"id": index, "width": _SIDE_PX, "height": _SIDE_PX} for index in range(len(samples))]
    truth: list[dict[str, Any]] = []
    predicted: list[dict[str, Any]] = []
    for index, (name, said, there) in enumerate(samples):
        for box in there:
            sized = _sized(box)
            truth.append({"id": len(truth) + 1, "image_id": index, "category_id": categories[name], "bbox": sized,
                          "area": sized[2] * sized[3], "iscrowd": 0})  # fmt: skip
        predicted += [
            {"image_id": index, "category_id": categories[name], "bbox": _sized(box), "score": 1.0}
            for box in said
        ]
    if not predicted or not truth:
        return 0.0, 0.0
    with contextlib.redirect_stdout(io.StringIO()):
        reference = COCO()
        reference.dataset = {
            "images": images,
            "annotations": truth,
            "categories": [{"id": index, "name": name} for name, index in categories.items()],
        }
        reference.createIndex()
        evaluation = COCOeval(reference, reference.loadRes(predicted), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, 0, 2]
    return _mean(precision), _mean(precision[:1])


def _sized(box: FractionBox) -> list[float]:
    x1, y1, x2, y2 = (edge * _SIDE_PX for edge in box)
    return [x1, y1, x2 - x1, y2 - y1]


def _mean(precision: Any) -> float:
    """COCO marks categories without truth by -1."""
    counted = precision[precision > -1]
    return float(np.mean(counted)) if counted.size else 0.0
