"""Scene -> grayscale image and exact masks, at any size.

The pose is applied to the sampling grid, so a mask and the image drawn from it always agree. All shapes are
ramps, polynomials and one periodic function: no exponentials, so that a 160 px phantom costs some 12 ms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from training.phantoms.scene import LEFT, RIGHT, UPPER, Anatomy, Kind, Lesion, Scene

Array = NDArray[np.float32]
Real = NDArray[np.floating[Any]]

ANALYSIS_SIZE_PX = 160
_NOISE_SIZE_PX = 160
_MARKER_R = ("11110", "10001", "10001", "11110", "10100", "10010", "10001")


@dataclass(frozen=True, slots=True)
class Grid:
    """Scene coordinates of every pixel centre; `s` is the distance from the midline, `soft` an edge's width."""

    x: Array
    y: Array
    s: Array
    soft: float


def grid_of(scene: Scene, size_px: int) -> Grid:
    """Scene coordinates (size_px, size_px) of the pixels of a posed image."""
    pose = scene.pose
    axis = (np.arange(size_px, dtype=np.float32) + 0.5) / size_px - 0.5
    u = (axis - pose.shift_x)[None, :] / pose.zoom
    v = (axis - pose.shift_y)[:, None] / pose.zoom
    cos, sin = np.float32(np.cos(pose.rotation_rad)), np.float32(np.sin(pose.rotation_rad))
    x = (cos * u + sin * v + 0.5).astype(np.float32)
    y = (cos * v - sin * u + 0.5).astype(np.float32)
    return Grid(x, y, np.abs(x - np.float32(0.5)), float(0.6 / size_px + 0.002) / pose.zoom)


def _inside(distance: Real, soft: float) -> Array:
    """Soft step: 1 where `distance` > 0, 0 where < 0, linear over one edge width."""
    step: Array = np.clip(distance * np.float32(1 / soft) + np.float32(0.5), 0, 1).astype(np.float32)
    return step


def _texture(seed: int, grid: Grid, cells: int, stream: int) -> Array:
    """Smooth noise fixed to the scene (mean 0, about +-1), the same at every size."""
    coarse = np.random.default_rng([seed, stream]).standard_normal((cells, cells)).astype(np.float32)
    at = np.stack([grid.y, grid.x]) * np.float32(cells - 1)
    texture: Array = ndimage.map_coordinates(coarse, at, order=1, mode="mirror")
    return texture


def anatomy_masks(scene: Scene, grid: Grid) -> dict[str, Array]:
    """Soft masks (0..1) of the anatomical regions, by RadVLM's names, and of the parts they are drawn from."""
    a, soft = scene.anatomy, grid.soft
    masks = {f"{side} lung": _lung(a, grid, side) for side in (RIGHT, LEFT)}
    for side in (RIGHT, LEFT):
        masks[f"{side} clavicle"] = _clavicle(a, grid, side)
        masks[f"{side} hemidiaphragm"] = _hemidiaphragm(a, grid, side)
    radius = ((grid.x - a.heart_x) / a.heart_rx) ** 2 + ((grid.y - a.heart_y) / a.heart_ry) ** 2
    masks["cardiac silhouette"] = _inside((1 - radius) * (a.heart_rx / 2), soft)
    top, bottom = a.apex_y - 0.02, a.dome_left_y
    half = a.mediastinum_half_width * (0.85 + 0.5 * np.clip((grid.y - top) / (bottom - top), 0, 1))
    knob = ((grid.x - 0.555) / 0.045) ** 2 + ((grid.y - a.carina_y + 0.05) / 0.05) ** 2
    column = np.minimum(np.minimum(half - grid.s, grid.y - top), bottom - grid.y)
    column = np.maximum(column, (1 - knob) * 0.022)
    masks["mediastinum"] = np.maximum(_inside(column, soft), masks["cardiac silhouette"])
    masks["trachea"] = _inside(
        np.minimum(a.trachea_half_width - grid.s, np.minimum(a.carina_y - grid.y, grid.y - 0.03)), soft
    )
    masks["spine"] = _inside(0.042 - grid.s, soft)
    return masks


def dome_y(a: Anatomy, grid: Grid, side: str) -> Array:
    """Height of the diaphragm under one lung at each pixel's distance from the midline."""
    top = a.dome_right_y if side == RIGHT else a.dome_left_y
    offset = grid.s - np.float32(0.17)
    return np.where(offset > 0, top + 2.6 * offset**2, top + 1.2 * offset**2).astype(np.float32)


def _lung_edges(a: Anatomy, grid: Grid) -> tuple[Array, Array]:
    t = np.clip((grid.y - a.apex_y) / (a.dome_left_y - a.apex_y), 0, 1)
    fall = 1 - np.minimum(t / 0.6, 1)
    outer = 0.15 + (a.lung_half_width - 0.15) * np.sqrt(1 - fall**2)
    inner = 0.15 - (0.15 - a.mediastinum_half_width) * np.sqrt(np.minimum(t / 0.25, 1))
    return inner.astype(np.float32), outer.astype(np.float32)


def _lung(a: Anatomy, grid: Grid, side: str) -> Array:
    inner, outer = _lung_edges(a, grid)
    depth = np.minimum(np.minimum(grid.s - inner, outer - grid.s), dome_y(a, grid, side) - grid.y)
    depth = np.minimum(depth, grid.y - a.apex_y)
    return _inside(depth, grid.soft) * _on_side(grid, side)


def _on_side(grid: Grid, side: str) -> Array:
    """1 on the patient's `side`: the patient's right is the LEFT of the image."""
    return (grid.x < 0.5 if side == RIGHT else grid.x >= 0.5).astype(np.float32)


def _clavicle(a: Anatomy, grid: Grid, side: str) -> Array:
    along = (grid.s - 0.045) / 0.31
    centre = a.clavicle_medial_y - a.clavicle_rise * along + 0.03 * (along * (1 - along))
    depth = 0.016 - np.abs(grid.y - centre)
    depth = np.minimum(depth, np.minimum(along, 1 - along) * 0.31)
    return _inside(depth, grid.soft) * _on_side(grid, side)


def _hemidiaphragm(a: Anatomy, grid: Grid, side: str) -> Array:
    dome = dome_y(a, grid, side)
    depth = 0.014 - np.abs(grid.y - dome)
    within = np.minimum(grid.s - a.mediastinum_half_width - 0.02, a.lung_half_width - grid.s)
    return _inside(np.minimum(depth, within), grid.soft) * _on_side(grid, side)


def lesion_mask(scene: Scene, lesion: Lesion, grid: Grid, anatomy: dict[str, Array]) -> Array:
    """Soft mask of one lesion; the heart's own for cardiomegaly."""
    if lesion.kind is Kind.CARDIOMEGALY:
        return anatomy["cardiac silhouette"]
    if lesion.kind is Kind.SUPPORT_DEVICES:
        body, line = device_parts(scene, lesion, grid)
        return np.maximum(body, line)
    lung = anatomy[f"{lesion.side} lung"] * (1 - anatomy["cardiac silhouette"])
    return _LUNG_SHAPES[lesion.kind](scene, lesion, grid) * lung


def _nodule(scene: Scene, lesion: Lesion, grid: Grid) -> Array:
    distance = np.sqrt((grid.x - lesion.x) ** 2 + (grid.y - lesion.y) ** 2)
    return _inside(np.float32(lesion.extent) - distance, grid.soft * 1.5)


def _consolidation(scene: Scene, lesion: Lesion, grid: Grid) -> Array:
    ry = lesion.extent / lesion.angle
    distance = np.sqrt(((grid.x - lesion.x) / lesion.extent) ** 2 + ((grid.y - lesion.y) / ry) ** 2)
    ragged = 0.12 * _texture(scene.seed, grid, 14, 3)
    return _inside((1 - distance + ragged) * np.float32(lesion.extent), grid.soft * 2)


def _atelectasis(scene: Scene, lesion: Lesion, grid: Grid) -> Array:
    cos, sin = np.float32(np.cos(lesion.angle)), np.float32(np.sin(lesion.angle))
    dx, dy = grid.x - lesion.x, grid.y - lesion.y
    along, across = cos * dx + sin * dy, cos * dy - sin * dx
    return _inside(np.minimum(lesion.extent - np.abs(across), 0.115 - np.abs(along)), grid.soft * 1.5)


def _effusion(scene: Scene, lesion: Lesion, grid: Grid) -> Array:
    a = scene.anatomy
    base = (a.dome_right_y if lesion.side == RIGHT else a.dome_left_y) + 0.06
    rise = np.clip((grid.s - 0.06) / (a.lung_half_width - 0.06), 0, 1)
    level = base - lesion.extent * (0.55 + 0.45 * rise**2)
    return _inside(grid.y - level, grid.soft * 1.5)


def _pneumothorax(scene: Scene, lesion: Lesion, grid: Grid) -> Array:
    a = scene.anatomy
    _, outer = _lung_edges(a, grid)
    t = np.clip((grid.y - a.apex_y) / (a.dome_left_y - a.apex_y), 0, 1)
    width = lesion.extent * (1.25 - 0.75 * t)
    edge = np.maximum(grid.s - (outer - width), (a.apex_y + lesion.extent * 0.8) - grid.y)
    bottom = a.apex_y + 0.80 * (a.dome_left_y - a.apex_y) - grid.y
    return _inside(np.minimum(edge, bottom).astype(np.float32), grid.soft)


_LUNG_SHAPES = {
    Kind.LUNG_LESION: _nodule,
    Kind.CONSOLIDATION: _consolidation,
    Kind.ATELECTASIS: _atelectasis,
    Kind.PLEURAL_EFFUSION: _effusion,
    Kind.PNEUMOTHORAX: _pneumothorax,
}


def device_parts(scene: Scene, lesion: Lesion, grid: Grid) -> tuple[Array, Array]:
    """Housing and line of a device: pacemaker (rounded box, lead to the heart) or port (disc, catheter)."""
    a = scene.anatomy
    cos, sin = np.float32(np.cos(lesion.angle)), np.float32(np.sin(lesion.angle))
    dx, dy = grid.x - lesion.x, grid.y - lesion.y
    p, q = cos * dx + sin * dy, cos * dy - sin * dx
    if lesion.form == "pacemaker":
        depth = lesion.extent * (1 - ((p / (1.25 * lesion.extent)) ** 4 + (q / lesion.extent) ** 4)) / 2
        end_x, end_y = a.heart_x + 0.02, a.heart_y + 0.06
    else:
        radius = np.sqrt(dx**2 + dy**2)
        ring = np.abs(radius - lesion.extent * 0.62) - 0.006
        depth = np.minimum(lesion.extent * 0.8 - radius, np.maximum(ring, lesion.extent * 0.28 - radius))
        end_x, end_y = 0.5 - 0.035, a.carina_y + 0.06
    t = (grid.y - lesion.y) / (end_y - lesion.y)
    bend = np.clip(t, 0, 1)
    path_x = lesion.x + (end_x - lesion.x) * (1 - (1 - bend) ** 2.0)
    slope = np.abs(end_x - lesion.x) * 2 * (1 - bend) / abs(end_y - lesion.y)
    distance = np.abs(grid.x - path_x) / np.sqrt(1 + slope**2)
    line = np.minimum(0.0055 - distance, np.minimum(t, 1 - t) * 0.2)
    return _inside(depth.astype(np.float32), grid.soft), _inside(line.astype(np.float32), grid.soft)


def image_of(scene: Scene, grid: Grid, anatomy: dict[str, Array], lesions: list[Array]) -> Array:
    """Displayed intensity (0 black .. 1 white) of the scene on the grid, before noise and exposure."""
    a, soft = scene.anatomy, grid.soft
    lungs = np.maximum(anatomy["right lung"], anatomy["left lung"])
    body_r = (grid.s / 0.46) ** 4 + ((grid.y - 0.66) / 0.63) ** 4
    body = _inside((1 - body_r) * 0.12, soft)
    fine = _texture(scene.seed, grid, 64, 1)
    image = 0.58 - 0.10 * np.clip(grid.s / 0.46, 0, 1) + 0.015 * _texture(scene.seed, grid, 12, 2)
    below = np.where(grid.x < 0.5, dome_y(a, grid, RIGHT), dome_y(a, grid, LEFT))
    image += 0.12 * _inside(grid.y - below, soft * 2)
    hilar = np.clip(
        1.15 - np.sqrt(((grid.s - 0.08) / 0.20) ** 2 + ((grid.y - a.carina_y - 0.07) / 0.26) ** 2), 0, 1
    )
    vessels = np.clip(0.55 - np.abs(fine), 0, 1) * (0.05 + 0.22 * hilar) + 0.06 * hilar
    free = np.ones_like(lungs)
    for lesion, mask in zip(scene.lesions, lesions, strict=True):
        if lesion.kind is Kind.PNEUMOTHORAX:
            free = free * (1 - mask)
    image += lungs * (0.24 + (vessels + 0.05) * free - 0.03 - image)
    for lesion, mask in zip(scene.lesions, lesions, strict=True):
        image = _draw_lung_lesion(scene, lesion, grid, image, mask)
    image = image + _ribs(a, grid) * (0.4 + 0.6 * lungs)
    image += 0.13 * (anatomy["right clavicle"] + anatomy["left clavicle"])
    image += anatomy["mediastinum"] * (0.80 - image) * 0.85
    image += anatomy["spine"] * (0.05 + 0.03 * _vertebrae(grid))
    image -= 0.20 * anatomy["trachea"]
    image = image * body + 0.03 * (1 - body)
    for lesion in scene.of_kind(Kind.SUPPORT_DEVICES):
        housing, line = device_parts(scene, lesion, grid)
        image += np.maximum(housing, 0.8 * line) * (0.98 - image)
    drawn: Array = image.astype(np.float32)
    return drawn


# Grey a lesion tends to, and how much of what lies under it is covered.
_DENSITIES = {
    Kind.LUNG_LESION: (0.70, 0.85),
    Kind.CONSOLIDATION: (0.52, 0.70),
    Kind.ATELECTASIS: (0.56, 0.85),
    Kind.PLEURAL_EFFUSION: (0.74, 0.95),
}


def _draw_lung_lesion(scene: Scene, lesion: Lesion, grid: Grid, image: Real, mask: Array) -> Real:
    drawn: Real = image
    if lesion.kind in _DENSITIES:
        gray, opacity = _DENSITIES[lesion.kind]
        mottle = 0.06 * _texture(scene.seed, grid, 40, 4) if lesion.kind is Kind.CONSOLIDATION else 0.0
        drawn = image + mask * (gray + mottle - image) * opacity
    elif lesion.kind is Kind.PNEUMOTHORAX:
        pleura = np.clip(1 - np.abs(mask - 0.5) * 2, 0, 1)
        drawn = image - 0.09 * mask + 0.22 * pleura
    return drawn


def _ribs(a: Anatomy, grid: Grid) -> Array:
    bow = np.where(grid.s > 0.06, (grid.s - 0.06), 0)
    phase = (grid.y - 0.55 * bow + 1.9 * bow**2) / a.rib_spacing + a.rib_phase
    profile = np.clip(1 - np.abs((phase % 1) - 0.5) / 0.22, 0, 1)
    within = np.clip((a.lung_half_width + 0.03 - grid.s) / 0.03, 0, 1) * np.clip((grid.s - 0.05) / 0.03, 0, 1)
    fade = np.clip((0.88 - grid.y) / 0.15, 0, 1) * np.clip((grid.y - a.apex_y + 0.02) / 0.05, 0, 1)
    ribs: Array = (a.rib_contrast * profile * within * fade).astype(np.float32)
    return ribs


def _vertebrae(grid: Grid) -> Array:
    ripple = np.abs(((grid.y / 0.062) % 1) - 0.5) * 4 - 1
    clipped: Array = np.clip(ripple, -1, 0.5).astype(np.float32)
    return clipped


def expose(scene: Scene, image: Array) -> Array:
    """Tone curve, side marker, collimation and detector noise; result 0..1."""
    size = image.shape[0]
    exposure = scene.exposure
    image = np.clip(image, 0, 1) ** np.float32(exposure.gamma) * exposure.gain + exposure.offset
    rng = np.random.default_rng([scene.seed, 9])
    noise = rng.standard_normal((_NOISE_SIZE_PX, _NOISE_SIZE_PX)).astype(np.float32)
    if size != _NOISE_SIZE_PX:
        noise = ndimage.zoom(noise, size / _NOISE_SIZE_PX, order=1, grid_mode=True, mode="nearest")
        noise = noise + rng.standard_normal((size, size)).astype(np.float32)
    image = image + exposure.noise * noise
    if exposure.marker:
        _burn_marker(image)
    left, top, right, bottom = (round(edge * size) for edge in exposure.collimation)
    for border in (image[:, :left], image[:top], image[:, size - right :], image[size - bottom :]):
        border[...] = 0.02
    return np.clip(image, 0, 1).astype(np.float32)


def _burn_marker(image: Array) -> None:
    """Lead letter R at the patient's right shoulder, on the left of the image."""
    cell = max(1, round(image.shape[0] / 160))
    glyph = np.array([[int(bit) for bit in row] for row in _MARKER_R], dtype=bool)
    glyph = np.kron(glyph, np.ones((cell, cell), dtype=bool))
    at = round(image.shape[0] * 0.05)
    window = image[at : at + glyph.shape[0], at : at + glyph.shape[1]]
    window[glyph] = 0.95


__all__ = [
    "ANALYSIS_SIZE_PX",
    "UPPER",
    "Grid",
    "anatomy_masks",
    "device_parts",
    "dome_y",
    "expose",
    "grid_of",
    "image_of",
    "lesion_mask",
]
