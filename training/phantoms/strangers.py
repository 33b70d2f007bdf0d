"""Radiographs that are no chest, and detector tests: what the input gate has to keep from the model."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import numpy as np

from training.phantoms.grid import Array, Grid, Real, ellipse, inside, stroke, texture
from training.phantoms.scene import Scene


class Stranger(StrEnum):
    """What is on the picture, by the name PS3.16 Annex L gives the body part."""

    HAND = "HAND"
    KNEE = "KNEE"
    SKULL = "SKULL"
    ABDOMEN = "ABDOMEN"
    FLAT_FIELD = "FLAT FIELD"
    TEST_PATTERN = "TEST PATTERN"


def stranger_of(seed: int) -> Stranger:
    """What a seed shows, all of them in turn."""
    every = list(Stranger)
    return every[seed % len(every)]


def stranger_image(scene: Scene, grid: Grid) -> Array:
    """Displayed intensity before the detector."""
    drawn: Array = np.clip(_DRAWN[stranger_of(scene.seed)](scene, grid), 0, 1).astype(np.float32)
    return drawn


def _bone(grid: Grid, points: list[tuple[float, float]], half_width: float) -> Array:
    """A long bone: a bright cortex round a darker core."""
    return stroke(grid, points, half_width) - 0.35 * stroke(grid, points, half_width * 0.55)


def _hand(scene: Scene, grid: Grid) -> Real:
    flesh = ellipse(grid, 0.5, 0.66, 0.19, 0.2)
    bones = np.zeros_like(flesh)
    tips = ((0.22, 0.50), (0.34, 0.18), (0.47, 0.10), (0.60, 0.15), (0.71, 0.27))
    for number, (x, y) in enumerate(tips):
        root = (0.42 + 0.045 * number, 0.70)
        flesh = np.maximum(flesh, stroke(grid, [root, (x, y)], 0.042))
        for start, end in ((0.0, 0.36), (0.42, 0.66), (0.70, 0.84), (0.87, 0.98)):
            ends = [(root[0] + t * (x - root[0]), root[1] + t * (y - root[1])) for t in (start, end)]
            bones = np.maximum(bones, _bone(grid, ends, 0.020 - 0.006 * start))
    wrist = [(0.46, 0.86), (0.46, 1.2)], [(0.55, 0.86), (0.55, 1.2)]
    for points in wrist:
        flesh, bones = (
            np.maximum(flesh, stroke(grid, points, 0.075)),
            np.maximum(bones, _bone(grid, points, 0.03)),
        )
    grain = 0.02 * texture(scene.seed, grid, 64, 1)
    return 0.03 + flesh * (0.28 + grain) + bones * 0.5


def _knee(scene: Scene, grid: Grid) -> Real:
    flesh = np.maximum(stroke(grid, [(0.5, -0.2), (0.5, 1.2)], 0.22), ellipse(grid, 0.5, 0.5, 0.26, 0.2))
    thigh, shin = [(0.5, -0.2), (0.5, 0.40)], [(0.5, 0.58), (0.5, 1.2)]
    bones = np.maximum(_bone(grid, thigh, 0.07), _bone(grid, shin, 0.065))
    bones = np.maximum(bones, 0.8 * ellipse(grid, 0.5, 0.42, 0.15, 0.09))
    bones = np.maximum(bones, 0.8 * ellipse(grid, 0.5, 0.57, 0.15, 0.06))
    bones = np.maximum(bones, _bone(grid, [(0.63, 0.62), (0.62, 1.2)], 0.022))
    drawn: Real = 0.03 + flesh * (0.30 + 0.02 * texture(scene.seed, grid, 64, 1)) + bones * 0.5
    return drawn


def _skull(scene: Scene, grid: Grid) -> Real:
    head = ellipse(grid, 0.5, 0.42, 0.30, 0.36)
    ring = head - 0.7 * ellipse(grid, 0.5, 0.42, 0.275, 0.335)
    eyes = ellipse(grid, 0.38, 0.52, 0.07, 0.055) + ellipse(grid, 0.62, 0.52, 0.07, 0.055)
    jaw = stroke(grid, [(0.32, 0.62), (0.38, 0.84), (0.62, 0.84), (0.68, 0.62)], 0.03)
    teeth = ellipse(grid, 0.5, 0.75, 0.11, 0.035)
    return (
        0.03
        + head * (0.35 + 0.02 * texture(scene.seed, grid, 40, 1))
        + 0.4 * ring
        - 0.12 * eyes
        + 0.3 * np.maximum(jaw, teeth)
    )


def _abdomen(scene: Scene, grid: Grid) -> Real:
    trunk = inside(np.float32(0.40) - grid.s, grid.soft)
    spine = inside(np.float32(0.055) - grid.s, grid.soft) * inside(np.float32(0.80) - grid.y, grid.soft * 3)
    pelvis = np.maximum(
        stroke(grid, [(0.16, 0.66), (0.30, 0.92), (0.44, 0.86)], 0.05),
        stroke(grid, [(0.84, 0.66), (0.70, 0.92), (0.56, 0.86)], 0.05),
    )
    rng = np.random.default_rng([scene.seed, 61])
    gas = np.zeros_like(trunk)
    for x, y, r in zip(
        rng.uniform(0.2, 0.8, 7), rng.uniform(0.2, 0.7, 7), rng.uniform(0.03, 0.06, 7), strict=True
    ):
        gas = np.maximum(gas, ellipse(grid, float(x), float(y), float(r) * 1.3, float(r), soften=3.0))
    soft_tissue = 0.45 + 0.03 * texture(scene.seed, grid, 12, 1)
    drawn: Real = 0.03 + trunk * (soft_tissue - 0.22 * gas + 0.22 * spine + 0.25 * pelvis)
    return drawn


def _flat_field(scene: Scene, grid: Grid) -> Real:
    return 0.5 + 0.01 * texture(scene.seed, grid, 12, 1)


def _test_pattern(scene: Scene, grid: Grid) -> Real:
    wedge = np.floor(grid.x * 11) / 11
    lines = ((grid.x * 40 * (1 + np.floor(grid.y * 4))) % 1 > 0.5).astype(np.float32)
    return np.where(grid.y < 0.35, wedge, np.where(grid.y < 0.8, 0.2 + 0.6 * lines, 0.5)).astype(np.float32)


_DRAWN: dict[Stranger, Callable[[Scene, Grid], Real]] = {
    Stranger.HAND: _hand,
    Stranger.KNEE: _knee,
    Stranger.SKULL: _skull,
    Stranger.ABDOMEN: _abdomen,
    Stranger.FLAT_FIELD: _flat_field,
    Stranger.TEST_PATTERN: _test_pattern,
}
