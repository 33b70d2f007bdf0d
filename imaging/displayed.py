"""The displayed grayscale image: what everything after decoding works on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clinical import Permanent
from imaging.flavours import Flavour


@dataclass(frozen=True, slots=True, eq=False)
class DisplayedImage:
    """One image as a viewer would show it, and as a model wants it.

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
    flavour, for_model
        How the picture a model reads was made, and that picture, uint8 (rows, columns), where it is not `pixels`.

    Raises
    ------
    ValueError
        If `pixels` is not a non-empty two-dimensional uint8 array, or `for_model` none of the same shape.
    """

    pixels: NDArray[np.uint8]
    steps: tuple[str, ...] = ()
    linear_range: tuple[float, float] | None = None
    flavour: Flavour = Flavour.CLINICAL
    for_model: NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        if self.pixels.dtype != np.uint8 or self.pixels.ndim != 2 or self.pixels.size == 0:
            raise ValueError("a displayed image is a non-empty uint8 array of rows x columns")
        self.pixels.setflags(write=False)
        if self.for_model is not None:
            if self.for_model.dtype != np.uint8 or self.for_model.shape != self.pixels.shape:
                raise ValueError("the picture for a model has the type and shape of the displayed one")
            self.for_model.setflags(write=False)

    def seen_by(self, flavour: Flavour) -> NDArray[np.uint8]:
        """The picture a model reads that was trained on `flavour`.

        Raises
        ------
        Permanent
            ``other-display`` if the image was decoded for another flavour.
        """
        if flavour is Flavour.CLINICAL:
            return self.pixels
        if self.for_model is None or self.flavour is not flavour:
            raise Permanent(
                "other-display", f"the image was not decoded for a model trained on {flavour} pictures"
            )
        return self.for_model

    @property
    def rows(self) -> int:
        """Number of rows, (0028,0010)."""
        return int(self.pixels.shape[0])

    @property
    def columns(self) -> int:
        """Number of columns, (0028,0011)."""
        return int(self.pixels.shape[1])
