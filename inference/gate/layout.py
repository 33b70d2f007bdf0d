"""How much a picture is laid out like a frontal chest: two dark lungs, a bright middle, brightness below."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

GRID = 48
# Centre, width, top and height of the lungs as fractions of the picture: the poses that are tried.
_CENTERS = (0.40, 0.45, 0.50, 0.55, 0.60)
_WIDTHS = (0.6, 0.7, 0.8, 0.9, 1.0)
_TOPS = (0.0, 0.06, 0.12, 0.18, 0.24, 0.30)
_HEIGHTS = (0.36, 0.42, 0.50, 0.58, 0.66, 0.74)
_LOWEST_BASE = 0.86
_MIN_SHARE = 0.15


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Best pose of the chest scheme on one picture.

    Attributes
    ----------
    score
        Correlation of the picture's brightness ranks with the scheme, -1 to 1.
    lungs
        bool (GRID, GRID): where the scheme's lungs lie.
    """

    score: float
    lungs: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class _Poses:
    """One row per pose: centred scheme, weights, their sum, the scheme's norm, and the lungs."""

    scheme: NDArray[np.float64]
    weights: NDArray[np.float64]
    sums: NDArray[np.float64]
    norms: NDArray[np.float64]
    lungs: NDArray[np.bool_]


def best_layout(brightness: NDArray[np.float64]) -> Layout:
    """Pose of the chest scheme that fits a picture best.

    Parameters
    ----------
    brightness
        (GRID, GRID), any monotone brightness scale: ranks are compared, so exposure and contrast do not count.
    """
    poses = _poses()
    ranks = _ranks(brightness).ravel()
    means = poses.weights @ ranks / poses.sums
    spread = poses.weights @ (ranks * ranks) - poses.sums * means * means
    scores = (poses.scheme @ ranks) / (np.sqrt(np.maximum(spread, 1e-9)) * poses.norms)
    best = int(scores.argmax())
    return Layout(float(scores[best]), poses.lungs[best].reshape(GRID, GRID))


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    ordered = np.sort(values, axis=None)
    below = np.searchsorted(ordered, values, side="left")
    up_to = np.searchsorted(ordered, values, side="right")
    return np.asarray((below + up_to) / (2.0 * ordered.size), dtype=np.float64)


@lru_cache(maxsize=1)
def _poses() -> _Poses:
    drawn = [
        pose
        for center, width, top, height in product(_CENTERS, _WIDTHS, _TOPS, _HEIGHTS)
        if top + height <= _LOWEST_BASE and (pose := _draw(center, width, top, height)) is not None
    ]
    scheme, weights, lungs = (np.array([pose[part].ravel() for pose in drawn]) for part in range(3))
    sums = weights.sum(axis=1)
    centred = (scheme - (scheme * weights).sum(axis=1, keepdims=True) / sums[:, None]) * weights
    return _Poses(centred, weights, sums, np.sqrt((centred**2).sum(axis=1)), lungs.astype(np.bool_))


def _draw(
    center: float, width: float, top: float, height: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]] | None:
    y, x = (np.mgrid[0:GRID, 0:GRID] + 0.5) / GRID
    scheme = 0.3 * np.exp(-(((x - center) / (width * 0.10)) ** 2))
    darkness = np.zeros_like(scheme)
    for side in (-1.0, 1.0):
        across = np.abs((x - (center + side * width * 0.26)) / (width * 0.17)) ** 2.2
        along = np.abs((y - (top + height * 0.5)) / (height * 0.5)) ** 2.2
        darkness += 1.0 / (1.0 + np.exp((across + along - 1.0) * 5.0))
    looked_at = (np.abs(x - center) < width * 0.45) & (y > top) & (y < min(top + height * 1.35, 1.0))
    if looked_at.mean() < _MIN_SHARE:
        return None
    return scheme - darkness, looked_at.astype(np.float64), darkness > 0.6
