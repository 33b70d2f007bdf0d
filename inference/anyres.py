"""LLaVA-OneVision's "anyres" geometry: which tiles an image is cut into, and how their tokens are put together.

Same numbers as transformers' `LlavaOnevisionImageProcessorPil` and `pack_image_features`; golden tensors prove it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Size = tuple[int, int]
FloatArray = NDArray[np.float32]
# Above this ratio of tokens to the budget the grid is shrunk (LLaVA-OneVision, anyres_max_N).
_SHRINK_ABOVE = 1.1


def best_resolution(image: Size, pinpoints: Sequence[Size]) -> Size:
    """Pinpoint (rows, columns) that keeps most of the image and, among those, wastes least."""
    rows, columns = image
    best, most, least = pinpoints[0], 0, math.inf
    for height, width in pinpoints:
        scale = min(width / columns, height / rows)
        effective = min(int(columns * scale) * int(rows * scale), columns * rows)
        wasted = width * height - effective
        if effective > most or (effective == most and wasted < least):
            best, most, least = (height, width), effective, wasted
    return best


def fitted_size(image: Size, target: Size) -> Size:
    """Size (rows, columns) of the image scaled into `target` with its aspect kept."""
    rows, columns = image
    scale_x, scale_y = target[1] / columns, target[0] / rows
    if scale_x < scale_y:
        return min(math.ceil(rows * scale_x), target[0]), target[1]
    return target[0], min(math.ceil(columns * scale_y), target[1])


def pack(
    features: FloatArray,
    image: Size,
    grid: Size,
    newline: FloatArray,
    *,
    tokens_per_side: int,
    max_tiles: int,
) -> FloatArray:
    """Tokens of one image in the order the language model reads them.

    Parameters
    ----------
    features
        (tiles, tokens_per_side ** 2, width): tile 0 is the whole image, the others row by row.
    image
        Size (rows, columns) of the original image.
    grid
        Tiles in (rows, columns).
    newline
        (width,), appended to every row of the grid.

    Returns
    -------
    FloatArray
        (tokens, width).
    """
    side, width = tokens_per_side, features.shape[-1]
    tiles = features[1:].reshape(grid[0], grid[1], side, side, width)
    canvas = tiles.transpose(0, 2, 1, 3, 4).reshape(grid[0] * side, grid[1] * side, width)
    canvas = _unpadded(canvas, image)
    ratio = math.sqrt(canvas.shape[0] * canvas.shape[1] / (max_tiles * side**2))
    if ratio > _SHRINK_ABOVE:
        canvas = _shrunk(canvas, (int(canvas.shape[0] // ratio), int(canvas.shape[1] // ratio)))
    ends = np.broadcast_to(newline.astype(canvas.dtype), (canvas.shape[0], 1, width))
    rows = np.concatenate([canvas, ends], axis=1).reshape(-1, width)
    return np.concatenate([features[0], rows], axis=0)


def _unpadded(canvas: FloatArray, image: Size) -> FloatArray:
    """Without the token rows or columns that hold only padding."""
    height, width = canvas.shape[:2]
    rows, columns = image
    if columns / rows > width / height:
        padding = (height - int(round(rows * (width / columns), 7))) // 2
        return canvas[padding : height - padding]
    padding = (width - int(round(columns * (height / rows), 7))) // 2
    return canvas[:, padding : width - padding]


def _shrunk(canvas: FloatArray, size: Size) -> FloatArray:
    """Bilinear interpolation with half-pixel centres and no antialiasing (torch's ``interpolate``)."""
    for axis in (0, 1):
        canvas = _shrunk_along(canvas, axis, size[axis])
    return canvas


def _shrunk_along(canvas: FloatArray, axis: int, length: int) -> FloatArray:
    old = canvas.shape[axis]
    at = np.clip(
        (np.arange(length, dtype=np.float32) + np.float32(0.5)) * np.float32(old / length) - 0.5, 0, None
    )
    low = np.minimum(at.astype(np.int64), old - 1)
    high = np.minimum(low + 1, old - 1)
    shape = [1] * canvas.ndim
    shape[axis] = length
    weight = (at - low).astype(np.float32).reshape(shape)
    blended: FloatArray = np.take(canvas, low, axis) * (1 - weight) + np.take(canvas, high, axis) * weight
    return blended
