"""The displayed radiograph with thin outlines, and what is to be read outside the anatomy, in bands above and below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from clinical import Box
from imaging import DisplayedImage

LONGEST_SIDE_PX = 2000
# Narrower pictures could not hold a line of text.
_NARROWEST_PX = 480
_BAND = (18, 20, 24)
_WARNING = (255, 196, 92)
_TEXT = (235, 235, 235)
_FOOTNOTE = (165, 170, 178)
_CASING = (0, 0, 0)

Colour = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True, slots=True)
class LegendLine:
    """One line of the legend; a finding's has its number and colour."""

    text: str
    number: int | None = None
    colour: Colour = _TEXT


@dataclass(frozen=True, slots=True)
class PictureText:
    """What stands around the radiograph: warnings above it, legend and footnotes below."""

    warnings: tuple[str, ...]
    legend: tuple[LegendLine, ...]
    footnotes: tuple[str, ...]


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


@dataclass(frozen=True, slots=True)
class _Line:
    text: str
    size_px: int
    colour: Colour
    number: int | None = None


def annotated_picture(
    displayed: DisplayedImage,
    marked: Sequence[Marked],
    text: PictureText,
    *,
    longest_side_px: int = LONGEST_SIDE_PX,
) -> NDArray[np.uint8]:
    """RGB picture of one image.

    Returns
    -------
    ndarray
        uint8 (rows, columns, 3). The radiograph keeps its size up to `longest_side_px` and its place from left to
        right; over it lie only outlines and numbers.
    """
    image, scale = _fitted(displayed, longest_side_px)
    width = max(image.width, _NARROWEST_PX)
    top, bottom = _bands(text, width)
    head = _height(top, width)
    canvas = Image.new("RGB", (width, head + image.height + _height(bottom, width)), _BAND)
    left = (width - image.width) // 2
    canvas.paste(image.convert("RGB"), (left, head))
    draw = ImageDraw.Draw(canvas)
    _write(draw, top, 0, width)
    _write(draw, bottom, head + image.height, width)
    _draw_boxes(draw, marked, (left, head), image.size, scale)
    return np.asarray(canvas)


def written_page(text: PictureText, width_px: int) -> NDArray[np.uint8]:
    """RGB page of text alone, uint8 (rows, columns, 3), as high as it needs to be."""
    top, bottom = _bands(text, width_px)
    head = _height(top, width_px)
    canvas = Image.new("RGB", (width_px, head + _height(bottom, width_px)), _BAND)
    draw = ImageDraw.Draw(canvas)
    _write(draw, top, 0, width_px)
    _write(draw, bottom, head, width_px)
    return np.asarray(canvas)


def _bands(text: PictureText, width: int) -> tuple[list[_Line], list[_Line]]:
    """Lines above and below the radiograph, broken to fit."""
    title_px, body_px, foot_px = (
        _font_px(width, share, low) for share, low in ((46, 14), (62, 12), (84, 11))
    )
    above = [_Line(line, title_px, _WARNING) for line in text.warnings]
    below = [_Line(line.text, body_px, line.colour, line.number) for line in text.legend]
    below += [_Line(line, foot_px, _FOOTNOTE) for line in text.footnotes]
    return _wrapped(above, width), _wrapped(below, width)


@lru_cache(maxsize=64)
def _font(size_px: int) -> Font:
    # Pillow carries this typeface itself, so pictures look the same on every machine.
    return ImageFont.load_default(size_px)


def _font_px(width: int, share: int, lowest: int) -> int:
    return max(lowest, width // share)


def _fitted(displayed: DisplayedImage, longest_side_px: int) -> tuple[Image.Image, float]:
    image = Image.fromarray(np.asarray(displayed.pixels))
    scale = min(1.0, longest_side_px / max(image.size))
    if scale < 1.0:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.LANCZOS)
    return image, scale


def _margin(width: int) -> int:
    return max(8, width // 90)


def _step(line: _Line) -> int:
    return round(line.size_px * 1.4)


def _height(lines: Sequence[_Line], width: int) -> int:
    return sum(_step(line) for line in lines) + 2 * _margin(width) if lines else 0


def _indent(line: _Line) -> int:
    """Room for the number before a finding's text."""
    return round(line.size_px * 1.7) if line.number is not None else 0


def _wrapped(lines: Sequence[_Line], width: int) -> list[_Line]:
    """Lines broken to fit the band, at spaces where there are any."""
    parts = []
    for line in lines:
        room = width - 2 * _margin(width) - _indent(line)
        pieces = _pieces(line.text, _font(line.size_px), room)
        parts.append(_Line(pieces[0], line.size_px, line.colour, line.number))
        parts += [_Line(piece, line.size_px, line.colour) for piece in pieces[1:] if piece]
    return parts


def _pieces(text: str, font: Font, room: int) -> list[str]:
    pieces = [""]
    for word in text.split():
        longer = f"{pieces[-1]} {word}".strip()
        if font.getlength(longer) <= room:
            pieces[-1] = longer
            continue
        if pieces[-1]:
            pieces.append("")
        while font.getlength(word) > room and len(word) > 1:
            fits = next((n for n in range(len(word), 0, -1) if font.getlength(word[:n]) <= room), 1)
            pieces[-1:] = [word[:fits], ""]
            word = word[fits:]
        pieces[-1] = word
    return pieces


def _write(draw: ImageDraw.ImageDraw, lines: Sequence[_Line], top: int, width: int) -> None:
    x = _margin(width)
    y = top + x
    for line in lines:
        if line.number is not None:
            draw.text((x, y), str(line.number), fill=line.colour, font=_font(line.size_px))
        draw.text((x + _indent(line), y), line.text, fill=line.colour, font=_font(line.size_px))
        y += _step(line)


def _draw_boxes(
    draw: ImageDraw.ImageDraw,
    marked: Sequence[Marked],
    origin: tuple[int, int],
    size: tuple[int, int],
    scale: float,
) -> None:
    line_px = max(1, max(size) // 700)
    number_px = max(12, size[0] // 60)
    edge = (origin[0] + size[0] - 1, origin[1] + size[1] - 1)
    columns, rows = round(size[0] / scale), round(size[1] / scale)
    taken: list[tuple[float, float, float, float]] = []
    for entry in marked:
        for box in entry.boxes_px:
            try:
                inside = box.clamped(columns=columns, rows=rows)
            except ValueError:
                continue  # no part of it lies inside the image
            x0, y0 = origin[0] + inside.x0 * scale, origin[1] + inside.y0 * scale
            x1, y1 = min(origin[0] + inside.x1 * scale, edge[0]), min(origin[1] + inside.y1 * scale, edge[1])
            # A dark casing keeps the outline visible on bright bone.
            draw.rectangle((x0 - 1, y0 - 1, x1 + 1, y1 + 1), outline=_CASING, width=line_px + 2)
            draw.rectangle((x0, y0, x1, y1), outline=entry.colour, width=line_px)
            _write_number(draw, entry, (x0, y0, x1, y1), number_px, origin[1], taken)


def _write_number(
    draw: ImageDraw.ImageDraw,
    entry: Marked,
    box: tuple[float, float, float, float],
    size_px: int,
    image_top: int,
    taken: list[tuple[float, float, float, float]],
) -> None:
    """Number above the box's left corner, inside it at the image's upper edge, moved right of other numbers."""
    font, text = _font(size_px), str(entry.number)
    above = box[1] - 1.3 * size_px >= image_top
    x, y, anchor = (
        (box[0], box[1] - 0.15 * size_px, "ls") if above else (box[0] + 0.3 * size_px, box[1] + size_px, "ls")
    )
    place = draw.textbbox((x, y), text, font=font, anchor=anchor, stroke_width=2)
    while any(_overlap(place, other) for other in taken):
        x += place[2] - place[0] + 2
        place = draw.textbbox((x, y), text, font=font, anchor=anchor, stroke_width=2)
    taken.append(place)
    draw.text((x, y), text, fill=entry.colour, font=font, anchor=anchor, stroke_width=2, stroke_fill=_CASING)


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
