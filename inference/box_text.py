"""Boxes as RadVLM writes them: `[x1, y1, x2, y2]`, fractions of the stored image's width and height.

Written with `round(value, 2)` and no zero padding (0.5, 0.0, 1.0), several boxes joined by ", " and a
last " and ". Read tolerantly: conversations pad with zeros (0.50).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

FractionBox = tuple[float, float, float, float]

BOX_PATTERN = re.compile(r"\[\s*(\d*\.?\d+)\s*,\s*(\d*\.?\d+)\s*,\s*(\d*\.?\d+)\s*,\s*(\d*\.?\d+)\s*\]")


def write_box(box: FractionBox) -> str:
    """One box of fractions (x1, y1, x2, y2) in RadVLM's spelling."""
    return "[" + ", ".join(str(round(float(value), 2)) for value in box) + "]"


def write_boxes(boxes: Sequence[FractionBox]) -> str:
    """Several boxes joined as in the training data: "b1, b2 and b3"."""
    written = [write_box(box) for box in boxes]
    return written[0] if len(written) == 1 else ", ".join(written[:-1]) + " and " + written[-1]


def read_boxes(text: str) -> tuple[FractionBox, ...]:
    """Every well-formed box of `text` in order; ill-formed or empty ones are left out.

    A box is well formed when 0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1.
    """
    found = []
    for match in BOX_PATTERN.finditer(text):
        x1, y1, x2, y2 = (float(group) for group in match.groups())
        if 0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1:
            found.append((x1, y1, x2, y2))
    return tuple(found)
