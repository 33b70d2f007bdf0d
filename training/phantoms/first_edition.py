"""The first edition's distribution: seven findings, ten regions, one view."""

from __future__ import annotations

import numpy as np

from training.phantoms.kinds import Edition, Kind
from training.phantoms.scene import LEFT, LOWER, RIGHT, UPPER, Anatomy, Exposure, Lesion, Pose, Scene


def compose_first(seed: int) -> Scene:
    """Scene of the first edition."""
    rng = np.random.default_rng(seed)
    kinds = _draw_kinds(rng)
    anatomy = _draw_anatomy(rng, enlarged=Kind.CARDIOMEGALY in kinds)
    lesions = _place(rng, anatomy, kinds)
    pose = Pose(
        zoom=rng.uniform(0.74, 1.14),
        shift_x=rng.uniform(-0.10, 0.10),
        shift_y=rng.uniform(-0.10, 0.10),
        rotation_rad=float(np.deg2rad(rng.uniform(-8, 8))),
    )
    return Scene(seed, pose, anatomy, lesions, _draw_exposure(rng), Edition.FIRST)


def _draw_kinds(rng: np.random.Generator) -> list[Kind]:
    count = int(rng.choice(5, p=[0.17, 0.30, 0.30, 0.17, 0.06]))
    every = Edition.FIRST.kinds
    order = rng.permutation(len(every))
    return [every[index] for index in order[:count]]


def _draw_anatomy(rng: np.random.Generator, *, enlarged: bool) -> Anatomy:
    width = rng.uniform(0.335, 0.385)
    dome_left = rng.uniform(0.70, 0.76)
    ratio = rng.uniform(0.60, 0.68) if enlarged else rng.uniform(0.38, 0.47)
    heart_rx = ratio * width
    return Anatomy(
        lung_half_width=width,
        apex_y=rng.uniform(0.11, 0.17),
        dome_right_y=dome_left - rng.uniform(0.005, 0.04),
        dome_left_y=dome_left,
        mediastinum_half_width=rng.uniform(0.055, 0.075),
        heart_x=0.5 + rng.uniform(0.025, 0.05),
        heart_y=dome_left - rng.uniform(0.085, 0.11),
        heart_rx=heart_rx,
        heart_ry=rng.uniform(0.135, 0.155) + 0.25 * (heart_rx - 0.15),
        trachea_half_width=rng.uniform(0.023, 0.029),
        carina_y=rng.uniform(0.34, 0.40),
        clavicle_medial_y=rng.uniform(0.20, 0.24),
        clavicle_rise=rng.uniform(0.075, 0.115),
        rib_spacing=rng.uniform(0.075, 0.09),
        rib_phase=rng.uniform(0, 1),
        rib_contrast=rng.uniform(0.05, 0.10),
    )


def _draw_exposure(rng: np.random.Generator) -> Exposure:
    borders = rng.uniform(0, 0.03, 4) if rng.random() < 0.3 else np.zeros(4)
    return Exposure(
        gamma=rng.uniform(0.8, 1.25),
        gain=rng.uniform(0.85, 1.1),
        offset=rng.uniform(-0.03, 0.06),
        noise=rng.uniform(0.005, 0.02),
        collimation=(float(borders[0]), float(borders[1]), float(borders[2]), float(borders[3])),
        marker=bool(rng.random() < 0.6),
    )


def _place(rng: np.random.Generator, anatomy: Anatomy, kinds: list[Kind]) -> tuple[Lesion, ...]:
    """Put each kind where no other lesion hides it: a lung has an upper and a lower place."""
    free = {(RIGHT, UPPER), (RIGHT, LOWER), (LEFT, UPPER), (LEFT, LOWER)}
    placed: list[Lesion] = []
    for kind in kinds:
        if kind is Kind.CARDIOMEGALY:
            placed.append(Lesion(kind))
        elif kind is Kind.SUPPORT_DEVICES:
            placed.append(_device(rng))
        else:
            for lesion in _lung_lesions(rng, anatomy, kind, free):
                placed.append(lesion)
                free.discard((lesion.side, lesion.zone))
    return tuple(placed)


def _lung_lesions(
    rng: np.random.Generator, anatomy: Anatomy, kind: Kind, free: set[tuple[str, str]]
) -> list[Lesion]:
    zones = {
        Kind.PNEUMOTHORAX: (UPPER,),
        Kind.PLEURAL_EFFUSION: (LOWER,),
        Kind.ATELECTASIS: (LOWER,),
        Kind.CONSOLIDATION: (UPPER, LOWER),
        Kind.LUNG_LESION: (UPPER, LOWER),
    }[kind]
    hidden = anatomy.heart_rx > 0.19 and kind is not Kind.PLEURAL_EFFUSION
    options = sorted(place for place in free if place[1] in zones and not (hidden and place == (LEFT, LOWER)))
    if not options:
        return []
    side, zone = options[int(rng.integers(len(options)))]
    if kind is Kind.PLEURAL_EFFUSION:
        both = {(RIGHT, LOWER), (LEFT, LOWER)} <= free and rng.random() < 0.25
        return [_effusion(rng, one) for one in ((RIGHT, LEFT) if both else (side,))]
    return [_lung_lesion(rng, anatomy, kind, side, zone)]


def _effusion(rng: np.random.Generator, side: str) -> Lesion:
    large = rng.random() < 0.5
    height = rng.uniform(0.20, 0.27) if large else rng.uniform(0.11, 0.145)
    form = "large" if large else "small"
    return Lesion(Kind.PLEURAL_EFFUSION, side, LOWER, form, extent=height)


def _lung_lesion(rng: np.random.Generator, anatomy: Anatomy, kind: Kind, side: str, zone: str) -> Lesion:
    sign = -1.0 if side == RIGHT else 1.0
    dome = anatomy.dome_right_y if side == RIGHT else anatomy.dome_left_y
    if kind is Kind.PNEUMOTHORAX:
        return Lesion(kind, side, zone, extent=rng.uniform(0.07, 0.12))
    outer = anatomy.lung_half_width
    inner = 0.20 if (side == LEFT and zone == LOWER) else 0.15
    y_range = (anatomy.apex_y + 0.12, anatomy.apex_y + 0.22) if zone == UPPER else (dome - 0.20, dome - 0.09)
    if kind is Kind.ATELECTASIS:
        return Lesion(
            kind,
            side,
            zone,
            x=0.5 + sign * rng.uniform(0.21, 0.25),
            y=dome - rng.uniform(0.06, 0.11),
            extent=rng.uniform(0.022, 0.032),
            angle=sign * rng.uniform(-0.45, -0.10),
        )
    if kind is Kind.CONSOLIDATION:
        extent = rng.uniform(0.085, 0.125)
        return Lesion(
            kind,
            side,
            zone,
            x=0.5 + sign * rng.uniform(inner + 0.02, outer - 0.10),
            y=rng.uniform(*y_range),
            extent=extent,
            angle=rng.uniform(0.8, 1.25),
        )
    extent = rng.uniform(0.048, 0.078)
    return Lesion(
        kind,
        side,
        zone,
        x=0.5 + sign * rng.uniform(inner + 0.01, outer - 0.075),
        y=rng.uniform(*y_range),
        extent=extent,
    )


def _device(rng: np.random.Generator) -> Lesion:
    side = RIGHT if rng.random() < 0.5 else LEFT
    sign = -1.0 if side == RIGHT else 1.0
    form = "pacemaker" if rng.random() < 0.5 else "port"
    return Lesion(
        Kind.SUPPORT_DEVICES,
        side,
        UPPER,
        form,
        x=0.5 + sign * rng.uniform(0.25, 0.31),
        y=rng.uniform(0.27, 0.34),
        extent=rng.uniform(0.036, 0.046),
        angle=rng.uniform(-0.4, 0.4),
    )
