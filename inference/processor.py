"""Displayed grayscale to the tiles a LLaVA-OneVision model was trained on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clinical import Permanent
from inference.anyres import FloatArray, Size, best_resolution, fitted_size

_BICUBIC = 3  # PIL's number for bicubic resampling, as preprocessor_config.json writes it


@dataclass(frozen=True, slots=True)
class Tiles:
    """Model input of one image.

    Attributes
    ----------
    pixel_values
        float32 (tiles, 3, S, S), normalised; tile 0 is the whole image squashed to a square.
    image
        Original size (rows, columns).
    grid
        Tiles in (rows, columns), without tile 0.
    budget
        Tiles whose tokens the image may have at most; 0 where the processor alone made it.
    digest
        SHA-256 of all that; empty where the processor alone made it.
    """

    pixel_values: FloatArray
    image: Size
    grid: Size
    budget: int = 0
    digest: bytes = b""


@dataclass(frozen=True, slots=True)
class Processor:
    """Resizing, tiling and normalisation as a package's ``preprocessor_config.json`` says."""

    side_px: int
    pinpoints: tuple[Size, ...]
    mean: float
    std: float
    rescale: float

    @classmethod
    def from_package(cls, folder: Path) -> Processor:
        """Processor of a package.

        Raises
        ------
        Permanent
            ``processor-unknown`` where the file asks for what is not done here.
        """
        config: dict[str, Any] = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
        means, stds = set(config["image_mean"]), set(config["image_std"])
        if config.get("resample", _BICUBIC) != _BICUBIC or len(means) != 1 or len(stds) != 1:
            raise Permanent(
                "processor-unknown", "the package asks for a resampling or normalisation not known here"
            )
        return cls(
            side_px=int(config["size"]["height"]),
            pinpoints=tuple((int(h), int(w)) for h, w in config["image_grid_pinpoints"]),
            mean=float(means.pop()),
            std=float(stds.pop()),
            rescale=float(config.get("rescale_factor", 1 / 255)),
        )

    def tiles(self, gray: NDArray[np.uint8]) -> Tiles:
        """Tiles of a displayed image (rows, columns), 0 black to 255 white."""
        size: Size = (int(gray.shape[0]), int(gray.shape[1]))
        target = best_resolution(size, self.pinpoints)
        picture = Image.fromarray(gray)
        whole = _resized(picture, (self.side_px, self.side_px))
        canvas = np.zeros(target, dtype=np.uint8)
        fitted = fitted_size(size, target)
        top, left = (target[0] - fitted[0]) // 2, (target[1] - fitted[1]) // 2
        canvas[top : top + fitted[0], left : left + fitted[1]] = _resized(picture, fitted)
        grid = (target[0] // self.side_px, target[1] // self.side_px)
        cut = canvas.reshape(grid[0], self.side_px, grid[1], self.side_px).swapaxes(1, 2)
        stacked = np.concatenate([whole[None], cut.reshape(-1, self.side_px, self.side_px)])
        values = (stacked.astype(np.float64) * self.rescale).astype(np.float32)
        values = (values - np.float32(self.mean)) / np.float32(self.std)
        return Tiles(np.repeat(values[:, None], 3, axis=1), size, grid)


def _resized(picture: Image.Image, size: Size) -> NDArray[np.uint8]:
    return np.asarray(picture.resize((size[1], size[0]), Image.Resampling.BICUBIC))
