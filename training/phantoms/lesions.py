"""Soft masks of what is abnormal on a phantom; their bounds are the boxes of the truth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from training.phantoms.anatomy import HEART, Masks, artery_centre, knob_centre, lung_edges
from training.phantoms.devices import device_mask
from training.phantoms.grid import Array, Grid, disc, ellipse, inside, texture
from training.phantoms.kinds import Form, Kind
from training.phantoms.scene import RIGHT, Lesion, Scene

_Shape = Callable[[Scene, Lesion, Grid], Array]


def lesion_mask(scene: Scene, lesion: Lesion, grid: Grid, anatomy: Masks) -> Array:
    """Soft mask (0..1) of one lesion; the heart's own for cardiomegaly."""
    match lesion.kind:
        case Kind.CARDIOMEGALY:
            return anatomy[HEART]
        case Kind.MEDIASTINAL_SHIFT:
            return anatomy["mediastinum"]
        case Kind.EMPHYSEMA:
            return anatomy[f"{lesion.side} lung"]
        case Kind.ENLARGED_CARDIOMEDIASTINUM:
            return _mediastinal(scene, lesion, grid, anatomy)
        case Kind.SUPPORT_DEVICES:
            return device_mask(lesion, grid)
        case Kind.FRACTURE:
            return _in_window(_nodule, scene, lesion, grid, lesion.extent)
    lung = anatomy[f"{lesion.side} lung"] * (1 - anatomy[HEART])
    if lesion.kind in _WHOLE_LUNG:
        return _WHOLE_LUNG[lesion.kind](scene, lesion, grid) * lung
    if lesion.form in _LARGE_FORMS:
        return _LARGE_FORMS[lesion.form](scene, lesion, grid) * lung
    shape, reach = _LOCAL[lesion.kind]
    return _in_window(shape, scene, lesion, grid, reach * lesion.extent) * lung


def _in_window(shape: _Shape, scene: Scene, lesion: Lesion, grid: Grid, radius: float) -> Array:
    """A shape no larger than `radius`, computed where it lies only."""
    mask = np.zeros(grid.x.shape, dtype=np.float32)
    window = grid.window(lesion.x, lesion.y, radius)
    mask[window] = shape(scene, lesion, grid.part(window))
    return mask


def _mediastinal(scene: Scene, lesion: Lesion, grid: Grid, anatomy: Masks) -> Array:
    a = scene.anatomy
    if lesion.form == Form.AORTA:
        return ellipse(grid, *knob_centre(a), a.knob_radius, a.knob_radius + 0.005)
    if lesion.form == Form.PULMONARY_ARTERY:
        return ellipse(grid, *artery_centre(a), a.artery_bulge, a.artery_bulge)
    return anatomy["mediastinum"] * (grid.y < a.carina_y)


def _nodule(scene: Scene, lesion: Lesion, grid: Grid) -> Array:
    distance = np.sqrt((grid.x - lesion.x) ** 2 + (grid.y - lesion.y) ** 2)
    return inside(np.float32(lesion.extent) - distance, grid.soft * 1.5)


def _consolidation(scene: Scene, lesion: Lesion, grid: Grid) -> Array:
    ry = lesion.extent / lesion.angle
    distance = np.sqrt(((grid.x - lesion.x) / lesion.extent) ** 2 + ((grid.y - lesion.y) / ry) ** 2)
    ragged = 0.12 * texture(scene.seed, grid, 14, 3)
    return inside((1 - distance + ragged) * np.float32(lesion.extent), grid.soft * 2)


def _haze(scene: Scene, lesion: Lesion, grid: Grid) -> Array:
    """Ground glass: an even veil whose edge fades over a third of its radius."""
    return ellipse(
        grid, lesion.x, lesion.y, lesion.extent, lesion.extent / lesion.angle,
        soften=lesion.extent / (3 * grid.soft),
    )  # fmt: skip


def spots(scene: Scene, lesion: Lesion, count: int) -> list[tuple[float, float, float]]:
    """Centre and radius of the small shadows a patchy lesion is made of, drawn from the seed."""
    rng = np.random.default_rng([scene.seed, 31, int(lesion.x * 1e6)])
    turns = (np.arange(count) + rng.uniform(0, 1)) / count * 2 * np.pi
    out = np.where(np.arange(count) == 0, 0.1, rng.uniform(0.45, 0.7, count)) * lesion.extent
    radii = lesion.extent * rng.uniform(0.26, 0.38, count)
    return [
        (lesion.x + float(r * np.cos(t)), lesion.y + float(r * np.sin(t)), float(size))
        for t, r, size in zip(turns, out, radii, strict=True)
    ]


def _patches(scene: Scene, lesion: Lesion, grid: Grid) -> Array:
    """Many fluffy shadows that run into each other."""
    depths = [
        radius - np.sqrt((grid.x - x) ** 2 + (grid.y - y) ** 2) for x, y, radius in spots(scene, lesion, 7)
    ]
    ragged = 0.10 * lesion.extent * texture(scene.seed, grid, 36, 8)
    return inside(np.maximum.reduce(depths) + ragged, max(grid.soft, 0.022))


def _specks(scene: Scene, lesion: Lesion, grid: Grid) -> Array:
    radius = max(0.0085, 0.18 * lesion.extent)
    masks = [disc(grid, x, y, radius) for x, y, _ in spots(scene, lesion, 5)]
    merged: Array = np.maximum.reduce(masks)
    return merged


def _atelectasis(scene: Scene, lesion: Lesion, grid: Grid) -> Array:
    cos, sin = np.float32(np.cos(lesion.angle)), np.float32(np.sin(lesion.angle))
    dx, dy = grid.x - lesion.x, grid.y - lesion.y
    along, across = cos * dx + sin * dy, cos * dy - sin * dx
    return inside(np.minimum(lesion.extent - np.abs(across), 0.115 - np.abs(along)), grid.soft * 1.5)


def _effusion(scene: Scene, lesion: Lesion, grid: Grid) -> Array:
    a = scene.anatomy
    base = (a.dome_right_y if lesion.side == RIGHT else a.dome_left_y) + 0.06
    rise = np.clip((grid.s - 0.06) / (a.lung_half_width - 0.06), 0, 1)
    level = base - lesion.extent * (0.55 + 0.45 * rise**2)
    return inside(grid.y - level, grid.soft * 1.5)


def _pneumothorax(scene: Scene, lesion: Lesion, grid: Grid) -> Array:
    a = scene.anatomy
    _, outer = lung_edges(a, grid)
    t = np.clip((grid.y - a.apex_y) / (a.dome_left_y - a.apex_y), 0, 1)
    width = lesion.extent * (1.25 - 0.75 * t)
    edge = np.maximum(grid.s - (outer - width), (a.apex_y + lesion.extent * 0.8) - grid.y)
    bottom = a.apex_y + 0.80 * (a.dome_left_y - a.apex_y) - grid.y
    return inside(np.minimum(edge, bottom).astype(np.float32), grid.soft)


def _thickening(scene: Scene, lesion: Lesion, grid: Grid) -> Array:
    """A band along the outer chest wall, `extent` thick and `angle` long, centred at `y`."""
    _, outer = lung_edges(scene.anatomy, grid)
    taper = np.clip((lesion.angle / 2 - np.abs(grid.y - lesion.y)) / 0.03, 0, 1)
    band = inside((grid.s - (outer - lesion.extent * taper)).astype(np.float32), grid.soft)
    ended: Array = band * (taper > 0).astype(np.float32)
    return ended


def _batwing(scene: Scene, lesion: Lesion, grid: Grid) -> Array:
    """The haze of an edema, spreading from the hilum."""
    soften = lesion.extent / (3 * grid.soft)
    return ellipse(grid, lesion.x, lesion.y, lesion.extent, lesion.extent * 1.55, soften=soften)


def _lower_lung(scene: Scene, lesion: Lesion, grid: Grid) -> Array:
    return inside(grid.y - np.float32(lesion.y), grid.soft * 4)


def _apex(scene: Scene, lesion: Lesion, grid: Grid) -> Array:
    return inside(np.float32(lesion.y) - grid.y, grid.soft * 3)


_WHOLE_LUNG: dict[Kind, _Shape] = {
    Kind.PLEURAL_EFFUSION: _effusion,
    Kind.PNEUMOTHORAX: _pneumothorax,
    Kind.PLEURAL_OTHER: _thickening,
    Kind.EDEMA: _batwing,
}
_LARGE_FORMS: dict[str, _Shape] = {Form.INTERSTITIAL: _lower_lung, Form.FIBROSIS: _apex}


# Shape of a lesion that lies in one place, and how many times its extent it can reach.
_LOCAL: dict[Kind, tuple[_Shape, float]] = {
    Kind.LUNG_LESION: (_nodule, 1.1),
    Kind.CONSOLIDATION: (_consolidation, 2.2),
    Kind.ATELECTASIS: (_atelectasis, 6.0),
    Kind.LUNG_OPACITY: (_haze, 1.8),
    Kind.PNEUMONIA: (_patches, 1.5),
    Kind.CALCIFICATION: (_specks, 1.3),
}
