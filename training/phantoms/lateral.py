"""A chest from the side, as it comes beside the frontal view: facing the image's left."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.phantoms.grid import Array, Grid, ellipse, inside, stroke, texture
from training.phantoms.scene import Scene


def lateral_image(scene: Scene, grid: Grid) -> tuple[Array, dict[str, NDArray[np.bool_]]]:
    """Displayed intensity before the detector, and where the regions are that have a name from the side too."""
    a, soft, seed = scene.anatomy, grid.soft, scene.seed
    x, y = grid.x, grid.y
    depth = 0.30 + 0.5 * (a.lung_half_width - 0.32)  # half the distance from breastbone to back
    front = 0.46 - depth * np.sqrt(np.clip(1 - ((y - 0.62) / 0.62) ** 2, 0.05, 1))
    back = 0.46 + depth * np.sqrt(np.clip(1 - ((y - 0.50) / 0.52) ** 2, 0.05, 1))
    dome = a.dome_left_y - 0.02 + np.where(x > 0.46, 2.4 * (x - 0.46) ** 2, 0.9 * (x - 0.46) ** 2)
    body = inside(np.minimum(x - front + 0.09, back + 0.13 - x) * np.float32(0.8), soft)
    neck_or_trunk = np.maximum(inside(y - np.float32(0.10), soft * 6), ellipse(grid, 0.5, 0.05, 0.13, 0.3))
    lung = inside(np.minimum(np.minimum(x - front, back - x), np.minimum(dome - y, y - a.apex_y)), soft)
    masks = {
        "cardiac silhouette": ellipse(grid, 0.36, a.heart_y - 0.01, a.heart_rx * 0.95, a.heart_ry),
        "aortic arch": ellipse(grid, 0.49, a.carina_y - 0.05, a.knob_radius * 1.5, a.knob_radius * 1.1),
        "trachea": stroke(grid, [(0.50, 0.02), (0.495, 0.2), (0.47, a.carina_y)], a.trachea_half_width),
        "spine": inside(0.05 - np.abs(x - (0.695 + 0.12 * (y - 0.5) ** 2)), soft),
    }
    image = 0.62 + 0.02 * texture(seed, grid, 12, 2) + 0.10 * inside(y - dome, soft * 2)
    lines = np.clip(0.5 - np.abs(texture(seed, grid, 64, 1)), 0, 1)
    image = image + lung * (a.lung_gray + 0.05 + 0.16 * lines - image)
    image = image + ribs_from_the_side(grid, a.rib_spacing, a.rib_phase) * a.rib_contrast * (0.3 + 0.7 * lung)
    for name, gray, cover in (("cardiac silhouette", 0.70, 0.8), ("aortic arch", 0.62, 0.6)):
        image = image + masks[name] * (gray - image) * cover
    ripple = np.clip(np.abs(((y / 0.062) % 1) - 0.5) * 4 - 1, -1, 0.5)
    image = image + masks["spine"] * (0.28 - 0.25 * y + 0.05 * ripple)
    image = image - 0.14 * masks["trachea"]
    image = image + 0.14 * ellipse(grid, 0.34, 0.02, 0.22, 0.17, soften=6.0)  # raised arms
    shown: Array = (image * body * neck_or_trunk + 0.03).astype(np.float32)
    regions = {name: mask >= 0.5 for name, mask in masks.items()}
    regions["abdomen"] = (y > dome) & (body >= 0.5)
    return shown, regions


def ribs_from_the_side(grid: Grid, spacing: float, phase: float) -> Array:
    """Both sides' ribs, falling forwards, one set a little behind the other."""
    falling = grid.y + 0.35 * (grid.x - 0.46)
    sets = [
        np.clip(1 - np.abs(((falling + shift) / spacing + phase) % 1 - 0.5) / 0.2, 0, 1)
        for shift in (0.0, 0.021)
    ]
    drawn: Array = (0.6 * (sets[0] + sets[1])).astype(np.float32)
    return drawn
