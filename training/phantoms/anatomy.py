"""Masks of the parts a thorax is drawn from, and of the regions that have a box."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.phantoms.grid import Array, Grid, ellipse, inside, on_side, stroke
from training.phantoms.kinds import REGIONS, Form, Kind
from training.phantoms.scene import LEFT, RIGHT, Anatomy, Scene

Masks = dict[str, Array]
HEART = "cardiac silhouette"
_SIDES = (RIGHT, LEFT)


def anatomy_masks(scene: Scene, grid: Grid) -> Masks:
    """Soft masks (0..1) of the parts the picture is drawn from, by RadVLM's names where they have one."""
    a, soft = scene.anatomy, grid.soft
    broken = {
        lesion.side: lesion.angle for lesion in scene.of_kind(Kind.FRACTURE) if lesion.form == Form.CLAVICLE
    }
    masks = {f"{side} lung": _lung(a, grid, side) for side in _SIDES}
    for side in _SIDES:
        masks[f"{side} clavicle"] = _clavicle(a, grid, side, broken.get(side, 0.0))
        masks[f"{side} hemidiaphragm"] = _hemidiaphragm(a, grid, side)
    radius = ((grid.x - a.heart_x) / a.heart_rx) ** 2 + ((grid.y - a.heart_y) / a.heart_ry) ** 2
    masks[HEART] = inside((1 - radius) * (a.heart_rx / 2), soft)
    masks["mediastinum"] = np.maximum(inside(_mediastinum(a, grid), soft), masks[HEART])
    masks["trachea"] = inside(
        np.minimum(a.trachea_half_width - grid.m, np.minimum(a.carina_y - grid.y, grid.y - 0.03)), soft
    )
    spine = grid.s if a.spine_x == 0.5 else np.abs(grid.x - np.float32(a.spine_x))
    masks["spine"] = inside(0.042 - spine, soft)
    masks["bronchi"] = _bronchi(a, grid)
    return masks


def _mediastinum(a: Anatomy, grid: Grid) -> Array:
    """Distance inside the column of the mediastinum, with the aortic knob and the pulmonary trunk."""
    top, bottom = a.apex_y - 0.02, a.dome_left_y
    half = a.mediastinum_half_width * (0.85 + 0.5 * np.clip((grid.y - top) / (bottom - top), 0, 1))
    if a.upper_widening:
        half = half + a.upper_widening * np.clip((a.heart_y - 0.04 - grid.y) / 0.08, 0, 1)
    knob_x, knob_y = knob_centre(a)
    knob = ((grid.x - knob_x) / a.knob_radius) ** 2 + ((grid.y - knob_y) / (a.knob_radius + 0.005)) ** 2
    column = np.minimum(np.minimum(half - grid.m, grid.y - top), bottom - grid.y)
    column = np.maximum(column, (1 - knob) * 0.022)
    if a.artery_bulge:
        x, y = artery_centre(a)
        bulge = ((grid.x - x) / a.artery_bulge) ** 2 + ((grid.y - y) / a.artery_bulge) ** 2
        column = np.maximum(column, (1 - bulge) * 0.022)
    distance: Array = column.astype(np.float32)
    return distance


def knob_centre(a: Anatomy) -> tuple[float, float]:
    """Centre of the aortic knob."""
    return 0.555 + (a.midline_x - 0.5), a.carina_y - 0.05


def artery_centre(a: Anatomy) -> tuple[float, float]:
    """Centre of the pulmonary trunk's bulge, below the knob."""
    return a.midline_x + 0.06, a.carina_y + 0.055


def _bronchi(a: Anatomy, grid: Grid) -> Array:
    x, y = a.midline_x, a.carina_y
    right = stroke(grid, [(x, y - 0.015), (x - 0.035, y + 0.03), (x - 0.055, y + 0.075)], 0.014)
    left = stroke(grid, [(x, y - 0.015), (x + 0.05, y + 0.03), (x + 0.09, y + 0.055)], 0.012)
    return np.maximum(right, left)


def dome_y(a: Anatomy, grid: Grid, side: str) -> Array:
    """Height of the diaphragm under one lung at each pixel's distance from the midline."""
    top = a.dome_right_y if side == RIGHT else a.dome_left_y
    offset = grid.s - np.float32(0.17)
    return np.where(offset > 0, top + a.dome_curve * offset**2, top + 1.2 * offset**2).astype(np.float32)


def lung_edges(a: Anatomy, grid: Grid) -> tuple[Array, Array]:
    """Distance of the lungs' inner edge from the midline, and of the outer edge from the middle of the scene."""
    t = np.clip((grid.y - a.apex_y) / (a.dome_left_y - a.apex_y), 0, 1)
    fall = 1 - np.minimum(t / 0.6, 1)
    outer = 0.15 + (a.lung_half_width - 0.15) * np.sqrt(1 - fall**2)
    inner = 0.15 - (0.15 - a.mediastinum_half_width) * np.sqrt(np.minimum(t / 0.25, 1))
    return inner.astype(np.float32), outer.astype(np.float32)


def _lung(a: Anatomy, grid: Grid, side: str) -> Array:
    inner, outer = lung_edges(a, grid)
    depth = np.minimum(np.minimum(grid.m - inner, outer - grid.s), dome_y(a, grid, side) - grid.y)
    depth = np.minimum(depth, grid.y - a.apex_y)
    here = on_side(grid, side)
    if a.midline_x != 0.5:
        here = (grid.x < a.midline_x if side == RIGHT else grid.x >= a.midline_x).astype(np.float32)
    return inside(depth, grid.soft) * here


def _clavicle(a: Anatomy, grid: Grid, side: str, step: float) -> Array:
    """Clavicle; a broken one has its outer half lower by `step` (scene units) and a gap."""
    from_midline = grid.s if a.midline_x == 0.5 else grid.s + _turned(a, side)
    along = (from_midline - 0.045) / 0.31
    centre = a.clavicle_medial_y - a.clavicle_rise * along + 0.03 * (along * (1 - along))
    if step:
        centre = centre + step * (along > 0.5)
    depth = 0.016 - np.abs(grid.y - centre)
    depth = np.minimum(depth, np.minimum(along, 1 - along) * 0.31)
    if step:
        depth = np.minimum(depth, np.abs(along - 0.5) * 0.31 - 0.006)
    return inside(depth, grid.soft) * on_side(grid, side)


def _turned(a: Anatomy, side: str) -> float:
    """How much nearer to the middle a clavicle's inner end lies when the patient is turned."""
    shift = a.midline_x - 0.5
    return shift if side == RIGHT else -shift


def clavicle_point(a: Anatomy, side: str, along: float) -> tuple[float, float]:
    """Scene point on a clavicle, `along` 0 (inner end) to 1."""
    distance = 0.045 + 0.31 * along - (_turned(a, side) if a.midline_x != 0.5 else 0.0)
    y = a.clavicle_medial_y - a.clavicle_rise * along + 0.03 * (along * (1 - along))
    return 0.5 + (-distance if side == RIGHT else distance), y


def _hemidiaphragm(a: Anatomy, grid: Grid, side: str) -> Array:
    dome = dome_y(a, grid, side)
    depth = 0.014 - np.abs(grid.y - dome)
    within = np.minimum(grid.s - a.mediastinum_half_width - 0.02, a.lung_half_width - grid.s)
    return inside(np.minimum(depth, within), grid.soft) * on_side(grid, side)


def region_masks(scene: Scene, grid: Grid, parts: Masks) -> dict[str, NDArray[np.bool_]]:
    """Where each region is, as booleans; `parts` as `anatomy_masks` gives them."""
    shown = {name: parts[name] >= 0.5 for name in parts.keys() & set(REGIONS)}
    shown.update(_finer_regions(scene.anatomy, grid, shown))
    return {name: shown[name] for name in REGIONS}


def _finer_regions(
    a: Anatomy, grid: Grid, whole: dict[str, NDArray[np.bool_]]
) -> dict[str, NDArray[np.bool_]]:
    """The regions of Chest ImaGenome that are parts of others, cut at the heights of clavicle, carina and hilum."""
    y, middle = grid.y, a.midline_x
    apical = max(a.clavicle_medial_y - 0.03, a.apex_y + 0.06)
    carina, hilum = a.carina_y, a.carina_y + 0.15
    found: dict[str, NDArray[np.bool_]] = {}
    for side, sign in ((RIGHT, -1.0), (LEFT, 1.0)):
        lung = whole[f"{side} lung"]
        found[f"{side} apical zone"] = lung & (y < apical)
        found[f"{side} upper lung zone"] = lung & (y >= apical) & (y < carina)
        found[f"{side} mid lung zone"] = lung & (y >= carina) & (y < hilum)
        found[f"{side} lower lung zone"] = lung & (y >= hilum)
        x, at_y = middle + sign * 0.10, a.carina_y + (0.065 if side == RIGHT else 0.05)
        found[f"{side} hilar structures"] = _drawn(grid, x, at_y, 0.06, 0.09)
        x, at_y = costophrenic_point(a, side)
        found[f"{side} costophrenic angle"] = _drawn(grid, x - sign * 0.035, at_y - 0.035, 0.06, 0.06)
    column, heart = whole["mediastinum"], whole[HEART]
    found["upper mediastinum"] = column & (y < carina)
    found["aortic arch"] = _drawn(grid, *knob_centre(a), a.knob_radius + 0.012, a.knob_radius + 0.015)
    half = a.mediastinum_half_width + a.upper_widening
    found["svc"] = _drawn(grid, middle - half * 0.65, a.carina_y - 0.01, half * 0.5, 0.095)
    found["cavoatrial junction"] = _drawn(grid, *cavoatrial_point(a), 0.05, 0.045)
    found["right atrium"] = heart & (grid.x < middle)
    found["carina"] = _drawn(grid, middle, a.carina_y, 0.055, 0.045)
    below = np.where(grid.x < 0.5, dome_y(a, grid, RIGHT), dome_y(a, grid, LEFT))
    found["abdomen"] = (y > below) & (grid.s < 0.40)
    return found


def _drawn(grid: Grid, x: float, y: float, rx: float, ry: float) -> NDArray[np.bool_]:
    mask = np.zeros(grid.x.shape, dtype=np.bool_)
    window = grid.window(x, y, max(rx, ry))
    mask[window] = ellipse(grid.part(window), x, y, rx, ry) >= 0.5
    return mask


def cavoatrial_point(a: Anatomy) -> tuple[float, float]:
    """Where the superior vena cava meets the right atrium."""
    return a.midline_x - 0.045, a.carina_y + 0.10


def costophrenic_point(a: Anatomy, side: str) -> tuple[float, float]:
    """Lowest outer corner of a lung."""
    top = a.dome_right_y if side == RIGHT else a.dome_left_y
    y = top + a.dome_curve * (a.lung_half_width - 0.17) ** 2
    return 0.5 + (-a.lung_half_width if side == RIGHT else a.lung_half_width), y
