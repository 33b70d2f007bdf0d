"""What the detector makes of the beam: tone, scatter, blur, noise, letters and collimation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from training.phantoms.grid import Array
from training.phantoms.scene import Mark, Scene

_NOISE_SIZE_PX = 160
_SCATTER_CELLS = 10


def expose(scene: Scene, image: Array) -> Array:
    """Tone curve, scatter, letters, collimation and detector noise; result 0..1."""
    size = image.shape[0]
    exposure = scene.exposure
    image = np.clip(image, 0, 1) ** np.float32(exposure.gamma) * exposure.gain + exposure.offset
    image = _spread(image, exposure.scatter, exposure.blur)
    rng = np.random.default_rng([scene.seed, 9])
    noise = rng.standard_normal((_NOISE_SIZE_PX, _NOISE_SIZE_PX)).astype(np.float32)
    if size != _NOISE_SIZE_PX:
        noise = ndimage.zoom(noise, size / _NOISE_SIZE_PX, order=1, grid_mode=True, mode="nearest")
        noise = noise + rng.standard_normal((size, size)).astype(np.float32)
    image = image + exposure.noise * noise
    window = open_window(scene, size)
    closed = np.ones(image.shape, dtype=bool)
    closed[window] = False
    image[closed] = 0.02
    for mark in exposure.marks:
        burn(image, mark)
    return np.clip(image, 0, 1).astype(np.float32)


def open_window(scene: Scene, size_px: int) -> tuple[slice, slice]:
    """Rows and columns that the collimator leaves open."""
    left, top, right, bottom = (round(edge * size_px) for edge in scene.exposure.collimation)
    return slice(top, size_px - bottom), slice(left, size_px - right)


def _spread(image: Array, scatter: float, blur: float) -> Array:
    """A share `scatter` of the light spread over the whole image, a share `blur` over the next pixels at 160."""
    size = image.shape[0]
    if scatter:
        edges = np.linspace(0, size, _SCATTER_CELLS + 1).astype(np.intp)[:-1]
        cells = np.add.reduceat(np.add.reduceat(image, edges, axis=0), edges, axis=1)
        counts = np.diff(np.append(edges, size)).astype(np.float32)
        cells = cells / (counts[:, None] * counts[None, :])
        weights = _tent(size)
        image = image + np.float32(scatter) * (weights @ cells @ weights.T - image)
    if blur:
        width = max(3, 2 * round(size / 320) + 1)
        image = image + np.float32(blur) * (ndimage.uniform_filter(image, width, mode="nearest") - image)
    spread: Array = image.astype(np.float32)
    return spread


def _tent(size_px: int) -> Array:
    """Weights (size_px, cells) that interpolate between the centres of the cells."""
    at = (np.arange(size_px, dtype=np.float32) + 0.5) / size_px * _SCATTER_CELLS - 0.5
    at = np.clip(at, 0, _SCATTER_CELLS - 1)
    cells = np.arange(_SCATTER_CELLS, dtype=np.float32)
    weights: Array = np.clip(1 - np.abs(at[:, None] - cells[None, :]), 0, 1).astype(np.float32)
    return weights


def burn(image: Array, mark: Mark) -> None:
    """Write letters into the picture in place, at a point of the image and `height` of its size tall."""
    glyphs = _glyphs(mark.text)
    size = image.shape[0]
    tall = max(5, round(mark.height * size))
    wide = max(1, round(glyphs.shape[1] * tall / glyphs.shape[0]))
    scaled = Image.fromarray(glyphs).resize((wide, tall), Image.Resampling.BOX)
    letters = np.asarray(scaled, dtype=np.float32) / 255
    top, left = round(mark.y * size), round(mark.x * size)
    window = image[top : top + tall, left : left + wide]
    letters = letters[: window.shape[0], : window.shape[1]]
    window += letters * (0.96 - window)


def _glyphs(text: str) -> NDArray[np.uint8]:
    """Letters as Pillow's built-in bitmap font draws them, on black, cut to their bounds."""
    font = ImageFont.load_default_imagefont()
    left, top, right, bottom = (int(edge) for edge in font.getbbox(text))
    drawn = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(drawn).text((-left, -top), text, fill=255, font=font)
    return np.asarray(drawn.crop(drawn.getbbox()), dtype=np.uint8)
