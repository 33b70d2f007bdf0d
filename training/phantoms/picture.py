"""Scene -> displayed intensity of everything in the beam, before the detector."""

from __future__ import annotations

import numpy as np

from training.phantoms.anatomy import Masks, dome_y
from training.phantoms.devices import device_parts
from training.phantoms.grid import Array, Grid, Real, disc, ellipse, inside, stroke, texture
from training.phantoms.kinds import Form, Kind
from training.phantoms.scene import LEFT, RIGHT, Anatomy, Lesion, Scene


def image_of(scene: Scene, grid: Grid, anatomy: Masks, lesions: list[Array]) -> Array:
    """Displayed intensity (0 black .. 1 white) of the scene on the grid, before noise and exposure."""
    a, soft = scene.anatomy, grid.soft
    lungs = np.maximum(anatomy["right lung"], anatomy["left lung"])
    body = _body(grid)
    image = 0.58 - 0.10 * np.clip(grid.s / 0.46, 0, 1) + 0.015 * texture(scene.seed, grid, 12, 2)
    below = np.where(grid.x < 0.5, dome_y(a, grid, RIGHT), dome_y(a, grid, LEFT))
    image += 0.12 * inside(grid.y - below, soft * 2)
    image += lungs * (a.lung_gray + _vessels(scene, grid, lesions) - 0.03 - image)
    for lesion, mask in zip(scene.lesions, lesions, strict=True):
        image = _draw_lung_lesion(scene, lesion, grid, image, mask)
    image = image + ribs(a, grid) * (0.4 + 0.6 * lungs)
    image += 0.13 * (anatomy["right clavicle"] + anatomy["left clavicle"])
    image += anatomy["mediastinum"] * (0.80 - image) * 0.85
    image += anatomy["spine"] * (0.05 + 0.03 * _vertebrae(grid))
    image -= 0.20 * anatomy["trachea"]
    _draw_more(scene, grid, anatomy, image)
    image = image * body + 0.03 * (1 - body)
    for lesion in scene.of_kind(Kind.SUPPORT_DEVICES):
        housing, line = device_parts(lesion, grid)
        image += np.maximum(housing, 0.8 * line) * (0.98 - image)
    drawn: Array = image.astype(np.float32)
    return drawn


def _body(grid: Grid) -> Array:
    """The trunk with a neck, going on beyond the picture."""
    below_shoulders = grid.y - np.float32(0.66)
    across = (grid.s * np.float32(1 / 0.46)) ** 2
    up = (np.minimum(below_shoulders, 0) * np.float32(1 / 0.63)) ** 2
    trunk = (1 - (across**2 + up**2)) * np.float32(0.12)
    neck = np.minimum(np.float32(0.13) - grid.s, np.float32(0.3) - grid.y) * np.float32(0.6)
    return inside(np.maximum(trunk, neck), grid.soft)


def _vessels(scene: Scene, grid: Grid, lesions: list[Array]) -> Real:
    """Lung vessels, denser towards the hila; none where a pneumothorax is, few in an emphysema."""
    a = scene.anatomy
    hilar = np.clip(
        1.15 - np.sqrt(((grid.m - 0.08) / 0.20) ** 2 + ((grid.y - a.carina_y - 0.07) / 0.26) ** 2), 0, 1
    )
    fine = texture(scene.seed, grid, 64, 1)
    vessels = np.clip(0.55 - np.abs(fine), 0, 1) * (0.05 + 0.22 * hilar) + 0.06 * hilar
    free: Real = np.ones_like(hilar)
    for lesion, mask in zip(scene.lesions, lesions, strict=True):
        if lesion.kind is Kind.PNEUMOTHORAX:
            free = free * (1 - mask)
        elif lesion.kind is Kind.EMPHYSEMA:
            free = free * (1 - 0.75 * mask)
    seen: Real = (vessels + 0.05) * free
    return seen


# Grey a lesion tends to, and how much of what lies under it is covered.
_DENSITIES: dict[tuple[Kind, str], tuple[float, float]] = {
    (Kind.LUNG_LESION, ""): (0.70, 0.85),
    (Kind.LUNG_LESION, Form.NODULE): (0.70, 0.85),
    (Kind.CONSOLIDATION, ""): (0.52, 0.70),
    (Kind.CONSOLIDATION, Form.DENSE): (0.66, 0.85),
    (Kind.ATELECTASIS, ""): (0.56, 0.85),
    (Kind.PLEURAL_EFFUSION, Form.SMALL): (0.74, 0.95),
    (Kind.PLEURAL_EFFUSION, Form.LARGE): (0.74, 0.95),
    (Kind.LUNG_OPACITY, Form.HAZE): (0.53, 0.68),
    (Kind.PNEUMONIA, ""): (0.66, 0.80),
    (Kind.PLEURAL_OTHER, ""): (0.72, 0.90),
    (Kind.CALCIFICATION, ""): (0.95, 0.95),
}


def _draw_lung_lesion(scene: Scene, lesion: Lesion, grid: Grid, image: Real, mask: Array) -> Real:
    density = _DENSITIES.get((lesion.kind, lesion.form))
    drawn: Real = image
    if density:
        gray, opacity = density
        mottle = 0.06 * texture(scene.seed, grid, 40, 4) if lesion.kind is Kind.CONSOLIDATION else 0.0
        drawn = image + mask * (gray + mottle - image) * opacity
    elif lesion.kind is Kind.PNEUMOTHORAX:
        pleura = np.clip(1 - np.abs(mask - 0.5) * 2, 0, 1)
        drawn = image - 0.09 * mask + 0.22 * pleura
    elif lesion.kind is Kind.EDEMA:
        streaks = np.clip(0.5 - np.abs(texture(scene.seed, grid, 90, 5)), 0, 1)
        drawn = image + mask * (0.56 + 0.12 * streaks - image) * 0.75
    elif lesion.kind is Kind.EMPHYSEMA:
        drawn = image - 0.10 * mask
    elif lesion.form == Form.INTERSTITIAL:
        mesh = np.clip(0.32 - np.abs(texture(scene.seed, grid, 110, 6)), 0, 1)
        drawn = image + mask * (0.05 + 0.75 * mesh)
    elif lesion.form == Form.INFILTRATE:
        strands = np.clip(0.45 - np.abs(texture(scene.seed, grid, 44, 7)), 0, 1)
        drawn = image + mask * (0.04 + 0.65 * strands)
    elif lesion.form == Form.FIBROSIS:
        drawn = _streaks(scene, lesion, grid, image, mask)
    elif lesion.form in (Form.CAVITY, Form.CYST):
        drawn = _ring(lesion, grid, image, mask)
    return drawn


def _streaks(scene: Scene, lesion: Lesion, grid: Grid, image: Real, mask: Array) -> Real:
    """Coarse bands from the hilum to the apex, and a veil over it."""
    a, sign = scene.anatomy, -1.0 if lesion.side == RIGHT else 1.0
    rng = np.random.default_rng([scene.seed, 41])
    bands = np.zeros_like(mask)
    for offset in (0.02, 0.07, 0.12):
        x = 0.5 + sign * (0.10 + offset)
        top = (x + sign * float(rng.uniform(-0.02, 0.03)), a.apex_y + 0.02)
        path = [(a.midline_x + sign * 0.10, a.carina_y + 0.04), (x, (a.carina_y + a.apex_y) / 2), top]
        np.maximum(bands, stroke(grid, path, 0.007), out=bands)
    lung = np.clip(mask * 1.0 + (grid.y > lesion.y) * 0.6, 0, 1)
    drawn: Real = image + mask * (0.44 - image) * 0.55
    drawn += bands * lung * (0.66 - drawn) * 0.9
    return drawn


def _ring(lesion: Lesion, grid: Grid, image: Real, mask: Array) -> Real:
    """A cavity has a thick wall, a cyst a thin one; both are as dark inside as air."""
    window = grid.window(lesion.x, lesion.y, lesion.extent * 1.1)
    share = 0.55 if lesion.form == Form.CAVITY else 0.80
    hole = disc(grid.part(window), lesion.x, lesion.y, lesion.extent * share)
    wall, here = mask[window] - np.minimum(hole, mask[window]), image[window]
    image = image.copy()
    image[window] = here + wall * (0.72 - here) * 0.9 + hole * mask[window] * (0.16 - here) * 0.8
    return image


def ribs(a: Anatomy, grid: Grid, displaced: Real | float = 0.0) -> Array:
    """Brightness of the ribs; `displaced` moves them by a part of their spacing."""
    bow = np.where(grid.s > 0.06, (grid.s - 0.06), 0)
    phase = (grid.y - 0.55 * bow + 1.9 * bow**2) / a.rib_spacing + a.rib_phase + displaced
    profile = np.clip(1 - np.abs((phase % 1) - 0.5) / 0.22, 0, 1)
    within = np.clip((a.lung_half_width + 0.03 - grid.s) / 0.03, 0, 1) * np.clip((grid.s - 0.05) / 0.03, 0, 1)
    fade = np.clip((0.88 - grid.y) / 0.15, 0, 1) * np.clip((grid.y - a.apex_y + 0.02) / 0.05, 0, 1)
    drawn: Array = (a.rib_contrast * profile * within * fade).astype(np.float32)
    return drawn


def _vertebrae(grid: Grid) -> Array:
    ripple = np.abs(((grid.y / 0.062) % 1) - 0.5) * 4 - 1
    clipped: Array = np.clip(ripple, -1, 0.5).astype(np.float32)
    return clipped


def _draw_more(scene: Scene, grid: Grid, anatomy: Masks, image: Real) -> None:
    """What is drawn in place: bronchi, stomach, shoulder blades, breasts, broken bones."""
    a = scene.anatomy
    image -= 0.09 * anatomy["bronchi"]
    _shade(image, grid, (a.midline_x + 0.15, a.dome_left_y + 0.065), (0.055, 0.028), -0.16)
    for sign in (-1.0, 1.0):
        if a.scapula:
            _shade(image, grid, (0.5 + sign * 0.335, 0.36), (0.045, 0.13), a.scapula)
        if a.breast:
            _shade(image, grid, (0.5 + sign * 0.22, 0.66), (0.13, 0.10), a.breast)
    for lesion in scene.of_kind(Kind.FRACTURE):
        if lesion.form == Form.RIB:
            _draw_rib_fracture(scene, lesion, grid, image)
    for lesion in scene.of_kind(Kind.SUPPORT_DEVICES):
        if lesion.form == Form.PACEMAKER:  # the pocket it lies in
            _shade(image, grid, (lesion.x, lesion.y), (lesion.extent * 1.6, lesion.extent * 1.4), 0.04)


def _shade(image: Real, grid: Grid, at: tuple[float, float], radii: tuple[float, float], by: float) -> None:
    window = grid.window(*at, max(radii))
    part = grid.part(window)
    image[window] += by * ellipse(part, *at, *radii, soften=0.25 * min(radii) / part.soft)


def _draw_rib_fracture(scene: Scene, lesion: Lesion, grid: Grid, image: Real) -> None:
    """The outer piece of a rib stands a third of a space lower, with a dark gap between and bright ends."""
    a = scene.anatomy
    window = grid.window(lesion.x, lesion.y, lesion.extent * 1.5)
    part = grid.part(window)
    here = disc(part, lesion.x, lesion.y, lesion.extent * 1.3, soften=2.0)
    distance = abs(lesion.x - 0.5)
    shifted = ribs(a, part, np.where(part.s > distance, -0.34, 0.0))
    gap = inside(0.008 - np.abs(part.s - distance), part.soft)
    ends = inside(0.030 - np.abs(part.s - distance), part.soft * 2)
    profile = shifted / max(a.rib_contrast, 1e-6)
    image[window] += here * (shifted * 1.6 - ribs(a, part)) + here * profile * (0.24 * ends - 0.40 * gap)
