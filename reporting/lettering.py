"""Lines of text in pictures, put together from the letters of the typeface.

A page of small print has thousands of letters of some eighty kinds, and to rasterise each of them anew takes longer
than to make the rest of a picture. The typeface has no kerning and whole pixels between its letters, so a line put
together is, pixel by pixel, the line that Pillow writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFont

from reporting.marks import Colour, font_of

# Kinds of letter kept of one size: more than any language's alphabet, fewer than a hostile text could name.
_MOST_LETTERS = 512


@dataclass(frozen=True, slots=True, eq=False)
class _Letter:
    """Ink of one letter, uint8 (rows, columns), and where it stands from the pen and the line's upper edge."""

    ink: NDArray[np.uint8]
    left: int
    top: int


class Lettering:
    """The typeface of all pictures in one size.

    Parameters
    ----------
    size_px
        Height of the typeface.
    """

    def __init__(self, size_px: int) -> None:
        self._font = font_of(size_px)
        self._advance_px = lru_cache(_MOST_LETTERS)(self._measured)
        self._letter = lru_cache(_MOST_LETTERS)(self._drawn)

    def width_px(self, text: str) -> int:
        """Columns from the pen before the text to the pen after it."""
        return sum(map(self._advance_px, text))

    def write(self, canvas: Image.Image, x: int, y: int, text: str, colour: Colour) -> None:
        """Write on an RGB picture; `x` and `y` are the upper left corner of the line, as in Pillow."""
        placed, pen = [], x
        for character in text:
            letter = self._letter(character)
            placed.append((letter, pen + letter.left))
            pen += self._advance_px(character)
        placed = [(letter, at) for letter, at in placed if letter.ink.size]
        if not placed:
            return
        left, top = min(at for _, at in placed), min(letter.top for letter, _ in placed)
        right = max(at + letter.ink.shape[1] for letter, at in placed)
        bottom = max(letter.top + letter.ink.shape[0] for letter, _ in placed)
        line, end = np.zeros((bottom - top, right - left), dtype=np.uint8), left
        for letter, at in placed:
            rows, columns = letter.ink.shape
            under = line[letter.top - top :, at - left :][:rows, :columns]
            under[:] = _over(letter.ink, under) if at < end else letter.ink
            end = max(end, at + columns)
        canvas.paste(colour, (left, y + top), Image.fromarray(line))

    def _measured(self, character: str) -> int:
        return round(self._font.getlength(character))

    def _drawn(self, character: str) -> _Letter:
        assert isinstance(self._font, ImageFont.FreeTypeFont)
        ink, (left, top) = self._font.getmask2(character, mode="L", anchor="la")
        columns, rows = ink.size
        return _Letter(np.frombuffer(bytes(ink), dtype=np.uint8).reshape(rows, columns), left, top)


def _over(ink: NDArray[np.uint8], under: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Ink over ink, rounded as Pillow rounds it."""
    share = under.astype(np.uint32) * (255 - ink) + 128
    return (ink + ((share + (share >> 8)) >> 8)).astype(np.uint8)


@lru_cache(maxsize=64)
def lettering(size_px: int) -> Lettering:
    """The typeface in a size; its letters are drawn once for all pictures."""
    return Lettering(size_px)
