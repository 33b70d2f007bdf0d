"""The displayed radiograph with thin outlines, and what is to be read outside the anatomy, in bands above and below."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reporting.lettering import Lettering, lettering
from reporting.marks import Colour, Marked, draw_boxes
from reporting.radiograph import Radiograph

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
    radiograph: Radiograph, marked: Sequence[Marked], text: PictureText
) -> NDArray[np.uint8]:
    """RGB picture of one image.

    Returns
    -------
    ndarray
        uint8 (rows, columns, 3). The radiograph keeps its size and its place from left to right; over it lie only
        outlines and numbers.
    """
    rows, columns = radiograph.grey.shape
    width = max(columns, _NARROWEST_PX)
    top, bottom = _bands(text, width)
    head, left = _height(top, width), (width - columns) // 2
    picture = np.empty((head + rows + _height(bottom, width), width, 3), dtype=np.uint8)
    picture[:head] = _band(top, width)
    picture[head : head + rows] = _BAND
    shown = picture[head : head + rows, left : left + columns]
    for channel in range(3):
        shown[:, :, channel] = radiograph.grey
    picture[head + rows :] = _band(bottom, width)
    draw_boxes(shown, marked, radiograph.scale)
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
        pieces = _pieces(line.text, lettering(line.size_px), room)
        parts.append(_Line(pieces[0], line.size_px, line.colour, line.number))
        parts += [_Line(piece, line.size_px, line.colour) for piece in pieces[1:] if piece]
    return parts


def _pieces(text: str, letters: Lettering, room: int) -> list[str]:
    words, pieces = text.split(), []
    while words:
        count = _fitting(words, letters.width_px(" "), letters, room)
        if count:
            pieces.append(" ".join(words[:count]))
            del words[:count]
            continue
        split = max(1, _fitting(words[0], 0, letters, room))
        pieces.append(words[0][:split])
        words[:1] = [words[0][split:]] if words[0][split:] else []
    return pieces or [""]


def _fitting(parts: Sequence[str], between_px: int, letters: Lettering, room: int) -> int:
    """How many of the first parts fit."""
    ends = accumulate(letters.width_px(part) + between_px for part in parts)
    return bisect([end - between_px for end in ends], room)


def _band(lines: Sequence[_Line], width: int) -> NDArray[np.uint8]:
    """Lines on the band's colour, uint8 (`_height`, width, 3)."""
    if not lines:
        return np.empty((0, width, 3), dtype=np.uint8)
    canvas = Image.new("RGB", (width, _height(lines, width)), _BAND)
    x = y = _margin(width)
    for line in lines:
        letters = lettering(line.size_px)
        if line.number is not None:
            letters.write(canvas, x, y, str(line.number), line.colour)
        letters.write(canvas, x + _indent(line), y, line.text, line.colour)
        y += _step(line)
    return np.asarray(canvas)
