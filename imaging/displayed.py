"""The displayed grayscale image: what everything after decoding works on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class DisplayedImage:
    """One image as a viewer would show it.

    Attributes
    ----------
    pixels
        uint8 (rows, columns), read-only, 0 = black; MONOCHROME1 is already inverted, so dense bone is bright.
    steps
        The transformations applied, in order, e.g. ``("rescale", "window-linear", "inverted")``; kept so that
        a result says how its picture was made.
    linear_range
        Values after the modality transformation that are shown black and white (before an inversion), where the
        range was found from the pixels; None where the header's own window or table was used.

    Raises
    ------
    ValueError
        If `pixels` is not a non-empty two-dimensional uint8 array.
    """

    pixels: NDArray[np.uint8]
    steps: tuple[str, ...] = ()
    linear_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.pixels.dtype != np.uint8 or self.pixels.ndim != 2 or self.pixels.size == 0:
            raise ValueError("a displayed image is a non-empty uint8 array of rows x columns")
        self.pixels.setflags(write=False)

    @property
    def rows(self) -> int:
        """Number of rows, (0028,0010)."""
        return int(self.pixels.shape[0])

    @property
    def columns(self) -> int:
        """Number of columns, (0028,0011)."""
        return int(self.pixels.shape[1])
