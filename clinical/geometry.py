"""Boxes in the one frame everything inside RadDraft uses.

Pixels of the stored image, (x0, y0, x1, y1), origin at the top-left corner of the top-left pixel,
half-open: x1 = Columns and y1 = Rows are the far corner. GSPS PIXEL units and SR SCOORD use the same
numbers (PS3.3 C.10.5.1.2 and C.18.6.1.1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Box:
    """A non-empty rectangle in pixels of the stored image.

    Raises
    ------
    ValueError
        If a coordinate is not finite or the rectangle is empty.
    """

    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        if not all(math.isfinite(value) for value in (self.x0, self.y0, self.x1, self.y1)):
            raise ValueError("a box needs four finite coordinates")
        if not (self.x0 < self.x1 and self.y0 < self.y1):
            raise ValueError("a box needs x0 < x1 and y0 < y1")

    @classmethod
    def from_fractions(cls, fractions: tuple[float, float, float, float], *, columns: int, rows: int) -> Box:
        """Box from (x1, y1, x2, y2) as fractions of width and height, 0 to 1 (RadVLM's answer text)."""
        x0, y0, x1, y1 = fractions
        return cls(x0 * columns, y0 * rows, x1 * columns, y1 * rows)

    def to_fractions(self, *, columns: int, rows: int) -> tuple[float, float, float, float]:
        """Corners as fractions of width and height."""
        return self.x0 / columns, self.y0 / rows, self.x1 / columns, self.y1 / rows

    @property
    def width_px(self) -> float:
        """Extent along the row direction."""
        return self.x1 - self.x0

    @property
    def height_px(self) -> float:
        """Extent along the column direction."""
        return self.y1 - self.y0

    @property
    def area_px2(self) -> float:
        """Area in square pixels."""
        return self.width_px * self.height_px

    @property
    def center_px(self) -> tuple[float, float]:
        """Centre as (x, y)."""
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2

    def clamped(self, *, columns: int, rows: int) -> Box:
        """The part inside an image of `columns` x `rows` pixels.

        Raises
        ------
        ValueError
            If no part of the box lies inside.
        """
        return Box(
            max(self.x0, 0.0), max(self.y0, 0.0), min(self.x1, float(columns)), min(self.y1, float(rows))
        )

    def iou(self, other: Box) -> float:
        """Intersection over union, 0 to 1."""
        width = min(self.x1, other.x1) - max(self.x0, other.x0)
        height = min(self.y1, other.y1) - max(self.y0, other.y0)
        if width <= 0 or height <= 0:
            return 0.0
        shared = width * height
        return shared / (self.area_px2 + other.area_px2 - shared)

    def share_in(self, other: Box) -> float:
        """Share of this box's area that lies in `other`, 0 to 1."""
        width = min(self.x1, other.x1) - max(self.x0, other.x0)
        height = min(self.y1, other.y1) - max(self.y0, other.y0)
        return width * height / self.area_px2 if width > 0 and height > 0 else 0.0
