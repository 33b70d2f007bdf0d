"""Gray pictures without a model's help: smooth, not constant, the same on every machine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def gray_picture(rows: int, columns: int, seed: int = 0) -> NDArray[np.uint8]:
    """Blobs and a gradient with some grain (rows, columns)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:rows, 0:columns] / max(rows, columns)
    picture = 60 + 80 * x + 40 * y
    for _ in range(6):
        centre_x, centre_y, radius = rng.uniform(0, 1, 3)
        picture += rng.uniform(-90, 90) * np.exp(
            -((x - centre_x) ** 2 + (y - centre_y) ** 2) / (0.02 + 0.05 * radius)
        )
    picture += rng.integers(-6, 7, (rows, columns))
    levels: NDArray[np.uint8] = np.clip(picture, 0, 255).astype(np.uint8)
    return levels
