r"""A box as the closed outline that SR and presentation states draw.

SCOORD and GSPS PIXEL units share one frame with `clinical.Box`: column\row, 0\0 the top-left corner of the top-left
pixel, Columns\Rows the far corner of the last one (PS3.3 C.18.6.1.1, C.10.5.1.2).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from clinical import Box

_STEP_PX = 0.5


def outline_points(box: Box, *, rows: int, columns: int) -> NDArray[np.float64] | None:
    """Closed rectangle of a box.

    Returns
    -------
    ndarray or None
        (5, 2) float64, (column, row), clockwise from the top left, inside the image, in steps of half a pixel, which
        float32 holds exactly; None where no part of the box lies inside the image.
    """
    try:
        inside = box.clamped(columns=columns, rows=rows)
    except ValueError:
        return None
    x0, x1 = _span(inside.x0, inside.x1)
    y0, y1 = _span(inside.y0, inside.y1)
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]], dtype=np.float64)


def _span(low: float, high: float) -> tuple[float, float]:
    """Both ends to the nearest half pixel; of what is narrower, the step it begins in."""
    start, end = (round(value / _STEP_PX) * _STEP_PX for value in (low, high))
    if start < end:
        return start, end
    start = math.floor(low / _STEP_PX) * _STEP_PX
    return start, start + _STEP_PX
