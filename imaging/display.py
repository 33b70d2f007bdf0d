"""Stored values to displayed grey: the one display pipeline of RadDraft.

Modality LUT or rescale, then VOI LUT or window or a robust range, then polarity (PS3.4 N.2). Every step is a
point operation, so the pipeline is worked out once per stored value and applied as a table: time and memory hardly
depend on the number of steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imaging.display_facts import DisplayFacts
from imaging.displayed import DisplayedImage
from imaging.flavours import Flavour, equalised, whole_range_levels

_LEVELS = 65536
_BAND_ROWS = 256
# A window or LUT that clips more of the image than this shows nothing: it belongs to another value range.
_USELESS_SHARE = 0.9
_ROBUST_PERCENT = (0.5, 99.5)


@dataclass(frozen=True, slots=True, eq=False)
class _Histogram:
    """Stored values as levels: `values[index]` is the image, `counts` how often each level occurs."""

    index: NDArray[np.uint16]
    values: NDArray[np.float64]
    counts: NDArray[np.int64]


def display(
    stored: NDArray[np.generic], facts: DisplayFacts, flavour: Flavour = Flavour.CLINICAL
) -> DisplayedImage:
    """Grey image of stored values.

    Parameters
    ----------
    stored
        (rows, columns), any integer or real type.
    facts
        What the header says about them.
    flavour
        How the picture for a model is made, beside the one a viewer shows.

    Returns
    -------
    DisplayedImage
        Same rows and columns. Padding is black and has no influence on the range.

    Raises
    ------
    ValueError
        If `stored` is empty or not two-dimensional.
    """
    if stored.ndim != 2 or stored.size == 0:
        raise ValueError("stored pixels are a non-empty array of rows x columns")
    histogram = _histogram(stored)
    padded = _padded(histogram.values, facts)
    shown = (histogram.counts > 0) & ~padded
    if not shown.any():
        padded = np.zeros_like(padded)
        shown = histogram.counts > 0
    grey, steps, linear_range = _grey(histogram, shown, facts)
    if facts.inverted:
        grey = 1.0 - grey
        steps = (*steps, "inverted")
    grey = np.where(padded, 0.0, grey)
    table = np.floor(np.clip(grey, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    for_model = _for_model(histogram, shown, facts, flavour)
    return DisplayedImage(table[histogram.index], steps, linear_range, flavour, for_model)


def _for_model(
    histogram: _Histogram, shown: NDArray[np.bool_], facts: DisplayFacts, flavour: Flavour
) -> NDArray[np.uint8] | None:
    """The picture as in training, where that is another; padding is black and has no influence."""
    if flavour is Flavour.CLINICAL:
        return None
    values, _ = _modality(histogram.values, facts)
    levels = whole_range_levels(values, shown, inverted=facts.inverted)
    counts = np.where(shown, histogram.counts, 0)
    if flavour is Flavour.EQUALISED:
        levels = equalised(levels, counts)
    return np.where(shown, levels, np.uint8(0))[histogram.index]


def _histogram(stored: NDArray[np.generic]) -> _Histogram:
    lowest, highest = _finite_range(stored)
    exact = stored.dtype.kind in "iub" and highest - lowest < _LEVELS
    index = np.empty(stored.shape, dtype=np.uint16)
    for start in range(0, stored.shape[0], _BAND_ROWS):
        band = stored[start : start + _BAND_ROWS].astype(np.float64)
        scaled = band - lowest if exact else (band - lowest) / _step(lowest, highest)
        index[start : start + _BAND_ROWS] = np.clip(np.nan_to_num(scaled), 0, _LEVELS - 1).astype(np.uint16)
    levels = int(highest - lowest) + 1 if exact else _LEVELS
    step = 1.0 if exact else _step(lowest, highest)
    values = lowest + np.arange(levels, dtype=np.float64) * np.float64(step)
    return _Histogram(index, values, np.bincount(index.ravel(), minlength=levels))


def _finite_range(stored: NDArray[np.generic]) -> tuple[float, float]:
    if stored.dtype.kind != "f":
        return float(stored.min()), float(stored.max())
    finite = stored[np.isfinite(stored)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def _step(lowest: float, highest: float) -> float:
    return (highest - lowest) / (_LEVELS - 1) or 1.0


def _padded(values: NDArray[np.float64], facts: DisplayFacts) -> NDArray[np.bool_]:
    if facts.padding is None:
        return np.zeros(values.shape, dtype=np.bool_)
    lowest, highest = facts.padding
    return (values >= lowest) & (values <= highest)


def _grey(
    histogram: _Histogram, shown: NDArray[np.bool_], facts: DisplayFacts
) -> tuple[NDArray[np.float64], tuple[str, ...], tuple[float, float] | None]:
    values, steps = _modality(histogram.values, facts)
    weights = np.where(shown, histogram.counts, 0)
    if facts.voi_lut is not None:
        grey = _unit(facts.voi_lut.apply(values), facts.voi_lut.entries)
        if grey is not None and not _clips(grey, weights):
            return grey, (*steps, "voi-lut"), None
    if facts.window is not None:
        grey = facts.window.apply(values)
        if not _clips(grey, weights):
            return grey, (*steps, f"window-{facts.window.function.value.lower().replace('_', '-')}"), None
    if facts.logarithmic:
        values = np.log1p(np.maximum(values - values[shown].min(), 0.0))
        steps = (*steps, "logarithm")
    lowest, highest = _robust_range(values, shown, weights)
    steps = (*steps, "robust-range")
    if highest <= lowest:
        return np.zeros_like(values), steps, None
    grey = np.clip((values - lowest) / (highest - lowest), 0.0, 1.0)
    return grey, steps, None if facts.logarithmic else (lowest, highest)


def _modality(
    values: NDArray[np.float64], facts: DisplayFacts
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    if facts.modality_lut is not None:
        return facts.modality_lut.apply(values), ("modality-lut",)
    if (facts.slope, facts.intercept) == (1.0, 0.0):
        return values, ()
    return values * facts.slope + facts.intercept, ("rescale",)


def _unit(values: NDArray[np.float64], entries: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """`values` on the 0 to 1 range of a table's own entries: descriptors often overstate the bits in use."""
    lowest, highest = float(entries.min()), float(entries.max())
    return None if highest <= lowest else (values - lowest) / (highest - lowest)


def _clips(grey: NDArray[np.float64], weights: NDArray[np.int64]) -> bool:
    clipped = int(weights[(grey <= 0.0) | (grey >= 1.0)].sum())
    return clipped > _USELESS_SHARE * int(weights.sum())


def _robust_range(
    values: NDArray[np.float64], shown: NDArray[np.bool_], weights: NDArray[np.int64]
) -> tuple[float, float]:
    order = np.argsort(values[shown], kind="stable")
    ordered, cumulative = values[shown][order], np.cumsum(weights[shown][order])
    lowest, highest = (
        float(
            ordered[min(int(np.searchsorted(cumulative, cumulative[-1] * percent / 100.0)), len(ordered) - 1)]
        )
        for percent in _ROBUST_PERCENT
    )
    if highest <= lowest:
        lowest, highest = float(ordered[0]), float(ordered[-1])
    return lowest, highest
