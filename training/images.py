"""Training images in memory, and the exposure changes they are shown with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from training.dense import box_table
from training.phantoms.collection import Entry


def load_images(folder: Path, names: list[str], size_px: int) -> NDArray[np.uint8]:
    """Gray images (N, size_px, size_px); one of another size is resized as the processor does (bicubic)."""
    images = np.empty((len(names), size_px, size_px), dtype=np.uint8)
    for index, name in enumerate(names):
        with Image.open(folder / name) as file:
            gray = file.convert("L")
        if gray.size != (size_px, size_px):
            gray = gray.resize((size_px, size_px), Image.Resampling.BICUBIC)
        images[index] = np.asarray(gray)
    return images


def load_tables(entries: list[Entry]) -> NDArray[np.float32]:
    """Dense boxes (N, classes, 5, 4)."""
    return np.stack([box_table(entry.truth) for entry in entries])


def exposed(images: NDArray[np.uint8], rng: np.random.Generator) -> Tensor:
    """Images (B, S, S) as 0..1 with random tone curve, window, blur and noise; never mirrored or moved."""
    batch = torch.from_numpy(images).float() / 255
    shape = (len(images), 1, 1)

    def draw(low: float, high: float) -> Tensor:
        return torch.from_numpy(rng.uniform(low, high, shape).astype(np.float32))

    batch = batch ** draw(0.75, 1.33) * draw(0.85, 1.2) + draw(-0.06, 0.06)
    smooth = functional.avg_pool2d(
        batch.unsqueeze(1), 3, stride=1, padding=1, count_include_pad=False
    ).squeeze(1)
    batch = batch.lerp(smooth, draw(0, 0.5))
    noise = torch.from_numpy(rng.standard_normal(batch.shape, dtype=np.float32))
    return (batch + noise * draw(0, 0.015)).clamp(0, 1)
