"""Outlines and numbers over a radiograph: the only things that ever cover anatomy."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from clinical import Box

Colour = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
# Columns and rows of the picture, half-open like a box: left, top, right, bottom.
Place = tuple[int, int, int, int]

_CASING = (0, 0, 0)
_STROKE_PX = 2


class Marked(Protocol):
    """Boxes in pixels of the stored image that share a number and an RGB colour."""

    @property
    def number(self) -> int:
        """Number beside the box."""
        ...

    @property
    def colour(self) -> Colour:
        """Colour of outline and number."""
        ...

    @property
    def boxes_px(self) -> Sequence[Box]:
        """Boxes in pixels of the stored image."""
        ...


@lru_cache(maxsize=64)
def font_of(size_px: int) -> Font:
    """The typeface of all pictures; Pillow carries it itself, so they look the same on every machine."""
    return ImageFont.load_default(size_px)


def draw_boxes(picture: NDArray[np.uint8], marked: Sequence[Marked], scale: float) -> None:
    """Outline every box and number it.

    Parameters
    ----------
    picture
        uint8 (rows, columns, 3), the radiograph alone; drawn on.
    scale
        Pixels of the picture per pixel of the stored image.
    """
    rows, columns = picture.shape[:2]
    line_px = max(1, max(rows, columns) // 700)
    number_px = max(12, columns // 60)
    taken: list[Place] = []
    for entry in marked:
        for box in entry.boxes_px:
            place = _place(box, scale, rows=rows, columns=columns)
            if place is not None:
                # A dark casing keeps the outline visible on bright bone.
                _outline(picture, _grown(place, 1), line_px + 2, _CASING)
                _outline(picture, place, line_px, entry.colour)
                _write_number(picture, entry, place, number_px, taken)


def _place(box: Box, scale: float, *, rows: int, columns: int) -> Place | None:
    """Whole pixels of the picture that a box covers; None where no part of it lies inside the image."""
    try:
        inside = box.clamped(columns=round(columns / scale), rows=round(rows / scale))
    except ValueError:
        return None
    left, right = _span(inside.x0 * scale, inside.x1 * scale, columns)
    top, bottom = _span(inside.y0 * scale, inside.y1 * scale, rows)
    return left, top, right, bottom


def _span(low: float, high: float, end: int) -> tuple[int, int]:
    """Both ends to the nearest pixel; of what is narrower, the pixel it begins in."""
    start, stop = round(low), min(round(high), end)
    if start < stop:
        return start, stop
    start = min(int(low), end - 1)
    return start, start + 1


def _grown(place: Place, by_px: int) -> Place:
    left, top, right, bottom = place
    return left - by_px, top - by_px, right + by_px, bottom + by_px


def _outline(picture: NDArray[np.uint8], place: Place, line_px: int, colour: Colour) -> None:
    """Frame along the inside of `place`, as far as it lies on the picture."""
    left, top, right, bottom = place
    for x0, y0, x1, y1 in (
        (left, top, right, top + line_px),
        (left, bottom - line_px, right, bottom),
        (left, top, left + line_px, bottom),
        (right - line_px, top, right, bottom),
    ):
        picture[max(y0, top, 0) : min(y1, bottom), max(x0, left, 0) : min(x1, right)] = colour


def _write_number(
    picture: NDArray[np.uint8], entry: Marked, box: Place, size_px: int, taken: list[Place]
) -> None:
    """Number above the box's left corner, inside it at the image's upper edge, moved right of other numbers."""
    font, text = font_of(size_px), str(entry.number)
    left, top, right, bottom = (
        round(edge) for edge in font.getbbox(text, anchor="ls", stroke_width=_STROKE_PX)
    )
    above = box[1] - round(1.3 * size_px) >= 0
    x = box[0] if above else box[0] + round(0.3 * size_px)
    y = box[1] - round(0.15 * size_px) if above else box[1] + size_px
    while any(_overlap((x + left, y + top, x + right, y + bottom), other) for other in taken):
        x += right - left + 2
    taken.append((x + left, y + top, x + right, y + bottom))
    x0, y0 = max(x + left, 0), max(y + top, 0)
    under = picture[y0 : max(y + bottom + 1, 0), x0 : max(x + right + 1, 0)]
    if under.size:
        patch = Image.fromarray(under)
        ImageDraw.Draw(patch).text(
            (x - x0, y - y0),
            text,
            fill=entry.colour,
            font=font,
            anchor="ls",
            stroke_width=_STROKE_PX,
            stroke_fill=_CASING,
        )
        under[:] = np.asarray(patch)


def _overlap(a: Place, b: Place) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
