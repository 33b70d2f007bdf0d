"""Scene coordinates of an image's pixels, and the few shapes everything is drawn with.

The pose is applied to the sampling grid, so a mask and the image drawn from it always agree. All shapes are ramps
and polynomials: no exponentials, so that a 160 px phantom costs some 12 ms.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.phantoms.scene import RIGHT, Point, Pose, Scene

Array = NDArray[np.float32]
Real = NDArray[np.floating[Any]]
Window = tuple[slice, slice]

ANALYSIS_SIZE_PX = 160
_BANK_PX = 1024


@dataclass(frozen=True, slots=True)
class Grid:
    """Scene coordinates of every pixel centre of an image, or of a window of it.

    `s` is the distance from the middle of the scene, `m` that from the patient's midline, `soft` an edge's width;
    `size_px` is the whole image's.
    """

    x: Array
    y: Array
    s: Array
    m: Array
    soft: float
    pose: Pose
    size_px: int

    def pixels_of(self, points: Sequence[Point]) -> NDArray[np.float64]:
        """Scene points as (K, 2) pixel coordinates (x, y) of the whole image."""
        pose = self.pose
        scene = np.asarray(points, dtype=np.float64) - 0.5
        dx, dy = scene[:, 0] * pose.stretch, scene[:, 1]
        cos, sin = np.cos(pose.rotation_rad), np.sin(pose.rotation_rad)
        x = 0.5 + pose.shift_x + pose.zoom * (cos * dx - sin * dy)
        y = 0.5 + pose.shift_y + pose.zoom * (sin * dx + cos * dy)
        return np.stack([x, y], axis=1) * self.size_px - 0.5

    def window(self, x: float, y: float, radius: float) -> Window:
        """Rows and columns of the image within `radius` (scene units) of a scene point, and some more."""
        ((at_x, at_y),) = self.pixels_of([(x, y)])
        reach = (radius * 1.1 + 2 * self.soft) * self.pose.zoom * max(
            1.0, self.pose.stretch
        ) * self.size_px + 2
        return _clamped(at_y - reach, at_y + reach, self.size_px), _clamped(
            at_x - reach, at_x + reach, self.size_px
        )

    def part(self, window: Window) -> Grid:
        """The grid of a window of the image."""
        return Grid(
            self.x[window], self.y[window], self.s[window], self.m[window], self.soft, self.pose, self.size_px,
        )  # fmt: skip


def _clamped(low: float, high: float, size: int) -> slice:
    start = int(min(max(np.floor(low), 0), size))
    return slice(start, int(min(max(np.ceil(high) + 1, start), size)))


def grid_of(scene: Scene, size_px: int) -> Grid:
    """Scene coordinates (size_px, size_px) of the pixels of a posed image."""
    pose = scene.pose
    axis = (np.arange(size_px, dtype=np.float32) + 0.5) / size_px - 0.5
    u = (axis - pose.shift_x)[None, :] / pose.zoom
    v = (axis - pose.shift_y)[:, None] / pose.zoom
    cos, sin = np.float32(np.cos(pose.rotation_rad)), np.float32(np.sin(pose.rotation_rad))
    across = cos * u + sin * v
    if pose.stretch != 1.0:
        across = across / np.float32(pose.stretch)
    x = (across + 0.5).astype(np.float32)
    y = (cos * v - sin * u + 0.5).astype(np.float32)
    s = np.abs(x - np.float32(0.5))
    midline = scene.anatomy.midline_x
    m = s if midline == 0.5 else np.abs(x - np.float32(midline))
    return Grid(x, y, s, m, float(0.6 / size_px + 0.002) / pose.zoom, pose, size_px)


def inside(distance: Real, soft: float) -> Array:
    """Soft step: 1 where `distance` > 0, 0 where < 0, linear over one edge width."""
    step: Array = np.clip(distance * np.float32(1 / soft) + np.float32(0.5), 0, 1).astype(np.float32)
    return step


def on_side(grid: Grid, side: str) -> Array:
    """1 on the patient's `side`: the patient's right is the LEFT of the image."""
    return (grid.x < 0.5 if side == RIGHT else grid.x >= 0.5).astype(np.float32)


def disc(grid: Grid, x: float, y: float, radius: float, *, soften: float = 1.0) -> Array:
    """Soft disc."""
    distance = np.sqrt((grid.x - x) ** 2 + (grid.y - y) ** 2)
    return inside(np.float32(radius) - distance, grid.soft * soften)


def ellipse(grid: Grid, x: float, y: float, rx: float, ry: float, *, soften: float = 1.0) -> Array:
    """Soft ellipse with its axes along the scene's."""
    radius = ((grid.x - x) / rx) ** 2 + ((grid.y - y) / ry) ** 2
    return inside((1 - radius) * (min(rx, ry) / 2), grid.soft * soften)


def texture(seed: int, grid: Grid, cells: int, stream: int) -> Array:
    """Smooth noise fixed to the scene (mean 0, about +-1), the same at every size; `cells` across the scene.

    One bank of noise is read at a place drawn from the seed, at a tenth of the cost of noise of its own.
    """
    offset = np.random.default_rng([seed, stream]).integers(0, _BANK_PX, 2)
    rows = (grid.y * np.float32(_BANK_PX)).astype(np.int32) + int(offset[0])
    columns = (grid.x * np.float32(_BANK_PX)).astype(np.int32) + int(offset[1])
    flat = ((rows & (_BANK_PX - 1)) << 10) | (columns & (_BANK_PX - 1))
    return _bank(cells).take(flat)


@lru_cache(maxsize=16)
def _bank(cells: int) -> Array:
    """Smooth noise (_BANK_PX ** 2,) that repeats seamlessly."""
    coarse = np.random.default_rng([cells, 20]).standard_normal((cells, cells)).astype(np.float32)
    at = np.arange(_BANK_PX, dtype=np.float32) * np.float32(cells / _BANK_PX)
    low = at.astype(np.int32)
    part = (at - low)[:, None]
    rows = coarse[low] * (1 - part) + coarse[(low + 1) % cells] * part
    filled: Array = rows[:, low] * (1 - part.T) + rows[:, (low + 1) % cells] * part.T
    return np.ascontiguousarray(filled, dtype=np.float32).ravel()


def stroke(grid: Grid, points: Sequence[Point], half_width: float) -> Array:
    """Soft mask of the whole image: a line of `half_width` (scene units) through scene points."""
    size = grid.size_px
    mask = np.zeros((size, size), dtype=np.float32)
    at = grid.pixels_of(points)
    width = half_width * grid.pose.zoom * size
    soft = grid.soft * grid.pose.zoom * size
    reach = width + soft + 1
    for start, end in itertools.pairwise(at):
        low, high = np.minimum(start, end) - reach, np.maximum(start, end) + reach
        rows, columns = _clamped(low[1], high[1], size), _clamped(low[0], high[0], size)
        if rows.start == rows.stop or columns.start == columns.stop:
            continue
        px = np.arange(columns.start, columns.stop, dtype=np.float32)[None, :] - np.float32(start[0])
        py = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] - np.float32(start[1])
        dx, dy = (np.float32(value) for value in end - start)
        along = np.clip((px * dx + py * dy) / max(float(dx * dx + dy * dy), 1e-9), 0, 1)
        distance = np.sqrt((px - along * dx) ** 2 + (py - along * dy) ** 2)
        drawn = inside(np.float32(width) - distance, soft)
        np.maximum(mask[rows, columns], drawn, out=mask[rows, columns])
    return mask
