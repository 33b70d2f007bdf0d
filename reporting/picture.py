"""The displayed radiograph with thin outlines, and what is to be read outside the anatomy, in bands above and below."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from imaging import DisplayedImage
from reporting.marks import Colour, Font, Marked, draw_boxes, font_of

LONGEST_SIDE_PX = 2000
# Narrower pictures could not hold a line of text.
_NARROWEST_PX = 480
_BAND = (18, 20, 24)
_WARNING = (255, 196, 92)
_TEXT = (235, 235, 235)
_FOOTNOTE = (165, 170, 178)


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
    grey, scale = _fitted(displayed, longest_side_px)
    rows, columns = grey.shape
    width = max(columns, _NARROWEST_PX)
    top, bottom = _bands(text, width)
    head, left = _height(top, width), (width - columns) // 2
    picture = np.empty((head + rows + _height(bottom, width), width, 3), dtype=np.uint8)
    picture[:head] = _band(top, width)
    picture[head : head + rows] = _BAND
    radiograph = picture[head : head + rows, left : left + columns]
    for channel in range(3):
        radiograph[:, :, channel] = grey
    del grey
    picture[head + rows :] = _band(bottom, width)
    draw_boxes(radiograph, marked, scale)
    return picture


def written_page(text: PictureText, width_px: int) -> NDArray[np.uint8]:
    """RGB page of text alone, uint8 (rows, columns, 3), as high as it needs to be."""
    return np.concatenate([_band(lines, width_px) for lines in _bands(text, width_px)])


def _bands(text: PictureText, width: int) -> tuple[list[_Line], list[_Line]]:
    """Lines above and below the radiograph, broken to fit."""
    title_px, body_px, foot_px = (
        _font_px(width, share, low) for share, low in ((46, 14), (62, 12), (84, 11))
    )
    above = [_Line(line, title_px, _WARNING) for line in text.warnings]
    below = [_Line(line.text, body_px, line.colour, line.number) for line in text.legend]
    below += [_Line(line, foot_px, _FOOTNOTE) for line in text.footnotes]
    return _wrapped(above, width), _wrapped(below, width)


def _font_px(width: int, share: int, lowest: int) -> int:
    return max(lowest, width // share)


def _fitted(displayed: DisplayedImage, longest_side_px: int) -> tuple[NDArray[np.uint8], float]:
    """Displayed pixels, made smaller where they must be, and pixels of the picture per pixel of the image."""
    scale = min(1.0, longest_side_px / max(displayed.rows, displayed.columns))
    if scale == 1.0:
        return displayed.pixels, scale
    size = (max(1, round(displayed.columns * scale)), max(1, round(displayed.rows * scale)))
    smaller = Image.fromarray(displayed.pixels).resize(size, Image.Resampling.LANCZOS)
    return np.asarray(smaller), scale


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
        pieces = _pieces(line.text, font_of(line.size_px), room)
        parts.append(_Line(pieces[0], line.size_px, line.colour, line.number))
        parts += [_Line(piece, line.size_px, line.colour) for piece in pieces[1:] if piece]
    return parts


def _pieces(text: str, font: Font, room: int) -> list[str]:
    words, pieces = text.split(), []
    while words:
        count = _fitting(words, " ", font, room)
        if count:
            pieces.append(" ".join(words[:count]))
            del words[:count]
            continue
        letters = max(1, _fitting(words[0], "", font, room))
        pieces.append(words[0][:letters])
        words[:1] = [words[0][letters:]] if words[0][letters:] else []
    return pieces or [""]


def _fitting(parts: Sequence[str], between: str, font: Font, room: int) -> int:
    """How many of the first parts fit, found by halving: to measure text costs more than to draw it."""
    counts = range(1, len(parts) + 1)
    return bisect(counts, room, key=lambda count: ceil(font.getlength(between.join(parts[:count]))))


def _band(lines: Sequence[_Line], width: int) -> NDArray[np.uint8]:
    """Lines on the band's colour, uint8 (`_height`, width, 3)."""
    if not lines:
        return np.empty((0, width, 3), dtype=np.uint8)
    canvas = Image.new("RGB", (width, _height(lines, width)), _BAND)
    draw = ImageDraw.Draw(canvas)
    x = y = _margin(width)
    for line in lines:
        if line.number is not None:
            draw.text((x, y), str(line.number), fill=line.colour, font=font_of(line.size_px))
        draw.text((x + _indent(line), y), line.text, fill=line.colour, font=font_of(line.size_px))
        y += _step(line)
    return np.asarray(canvas)
