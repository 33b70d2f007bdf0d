"""How radiographs were shown to models in training, where that differs from how a viewer shows them.

A model answers best about pictures made as those it was trained on. The window a manufacturer chose is not among them:
MIMIC-CXR-JPG was made from the whole range of values and then equalised, VinDr-CXR (as RadVLM's authors converted it)
from the whole range alone.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray


class Flavour(StrEnum):
    """A way to show stored values.

    ``CLINICAL``: modality, VOI and polarity as a viewer applies them (PS3.4 N.2). ``EQUALISED``: the whole range of
    values on 256 levels, polarity, then histogram equalisation, as MIMIC-CXR-JPG (Johnson et al., arXiv 1901.07042).
    ``MIN_MAX``: the whole range of values on 256 levels, as VinDr-CXR was converted for RadVLM, but with the polarity
    put right.
    """

    CLINICAL = "clinical"
    EQUALISED = "equalised"
    MIN_MAX = "min-max"


def whole_range_levels(
    values: NDArray[np.float64], shown: NDArray[np.bool_], *, inverted: bool
) -> NDArray[np.uint8]:
    """Level 0 to 255 of each value: the lowest that is shown is 0, the highest 255; fractions are cut off.

    Parameters
    ----------
    values
        After the modality transformation.
    shown
        Which of them occur in the image and are no padding.
    inverted
        Whether the smallest value is displayed white.
    """
    lowest, highest = float(values[shown].min()), float(values[shown].max())
    if highest <= lowest:
        return np.zeros(values.shape, dtype=np.uint8)
    levels = np.clip((values - lowest) / (highest - lowest) * 255.0, 0.0, 255.0).astype(np.uint8)
    return 255 - levels if inverted else levels


def equalised(levels: NDArray[np.uint8], counts: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Histogram equalisation of 256 levels, the rule of OpenCV's ``equalizeHist``.

    Parameters
    ----------
    levels
        Level of each stored value.
    counts
        How often it occurs.
    """
    histogram = np.bincount(levels, weights=counts, minlength=256)
    cumulative = np.cumsum(histogram)
    first = float(histogram[np.flatnonzero(histogram)[0]])
    total = float(cumulative[-1])
    if total <= first:
        return levels
    table = np.rint((cumulative - first) * (255.0 / (total - first)))
    found: NDArray[np.uint8] = np.clip(table, 0, 255).astype(np.uint8)[levels]
    return found
