"""The displayed radiograph as it stands in pictures."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imaging import DisplayedImage

LONGEST_SIDE_PX = 2000


@dataclass(frozen=True, slots=True, eq=False)
class Radiograph:
    """Grey pixels for pictures, and how they came about.

    Attributes
    ----------
    grey
        uint8 (rows, columns), 0 = black, dense bone is bright.
    scale
        Pixels here per pixel of the stored image.
    steps, linear_range
        As `imaging.DisplayedImage` has them.
    """

    grey: NDArray[np.uint8]
    scale: float = 1.0
    steps: tuple[str, ...] = ()
    linear_range: tuple[float, float] | None = None

    def within(self, longest_side_px: int) -> Radiograph:
        """The same, made smaller where a side is longer than that."""
        rows, columns = self.grey.shape
        smaller = min(1.0, longest_side_px / max(rows, columns))
        if smaller == 1.0:
            return self
        size = (max(1, round(columns * smaller)), max(1, round(rows * smaller)))
        grey = np.asarray(Image.fromarray(self.grey).resize(size, Image.Resampling.LANCZOS))
        return replace(self, grey=grey, scale=self.scale * smaller)


def radiograph_of(displayed: DisplayedImage) -> Radiograph:
    """The displayed pixels as all pictures of them share them: `LONGEST_SIDE_PX` on the longer side at most."""
    whole = Radiograph(displayed.pixels, 1.0, displayed.steps, displayed.linear_range)
    return whole.within(LONGEST_SIDE_PX)
