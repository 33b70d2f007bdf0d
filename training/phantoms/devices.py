"""Tubes, lines and devices, each with its tip; a line is a path of scene points."""

from __future__ import annotations

import numpy as np

from training.phantoms.grid import Array, Grid, inside, stroke
from training.phantoms.kinds import Form
from training.phantoms.scene import Lesion, Point

# Half width of each line in scene units; a phantom is 43 cm across.
_HALF_WIDTHS = {
    Form.ENDOTRACHEAL_TUBE: 0.0085,
    Form.NASOGASTRIC_TUBE: 0.006,
    Form.CENTRAL_LINE: 0.0055,
    Form.PACEMAKER: 0.005,
    Form.PORT: 0.005,
}


def device_mask(lesion: Lesion, grid: Grid) -> Array:
    """Soft mask of a whole device."""
    body, line = device_parts(lesion, grid)
    return np.maximum(body, line)


def device_parts(lesion: Lesion, grid: Grid) -> tuple[Array, Array]:
    """Housing and line of a device: pacemaker (rounded box, lead to the heart) or port (disc, catheter)."""
    housing = np.zeros(grid.x.shape, dtype=np.float32)
    if lesion.form in (Form.PACEMAKER, Form.PORT):
        window = grid.window(lesion.x, lesion.y, lesion.extent * 1.3)
        housing[window] = _housing(lesion, grid.part(window))
    return housing, stroke(grid, lesion.path, _HALF_WIDTHS[Form(lesion.form)])


def _housing(lesion: Lesion, grid: Grid) -> Array:
    cos, sin = np.float32(np.cos(lesion.angle)), np.float32(np.sin(lesion.angle))
    dx, dy = grid.x - lesion.x, grid.y - lesion.y
    if lesion.form == Form.PACEMAKER:
        p, q = cos * dx + sin * dy, cos * dy - sin * dx
        depth = lesion.extent * (1 - ((p / (1.25 * lesion.extent)) ** 4 + (q / lesion.extent) ** 4)) / 2
    else:
        radius = np.sqrt(dx**2 + dy**2)
        ring = np.abs(radius - lesion.extent * 0.62) - 0.006
        depth = np.minimum(lesion.extent * 0.8 - radius, np.maximum(ring, lesion.extent * 0.28 - radius))
    return inside(depth.astype(np.float32), grid.soft)


def curve(*points: Point, steps: int = 5) -> tuple[Point, ...]:
    """A smooth path through scene points (Catmull-Rom)."""
    at = np.array([points[0], *points, points[-1]], dtype=np.float64)
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    pieces = []
    for index in range(len(points) - 1):
        p0, p1, p2, p3 = at[index : index + 4]
        linear, square, cube = p2 - p0, 2 * p0 - 5 * p1 + 4 * p2 - p3, 3 * p1 - 3 * p2 + p3 - p0
        pieces.append(p1 + 0.5 * (linear * t + square * t**2 + cube * t**3))
    path = np.concatenate([*pieces, at[-1:]])
    return tuple((float(x), float(y)) for x, y in path)
