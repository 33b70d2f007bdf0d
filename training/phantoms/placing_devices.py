"""Which devices a phantom has, how they run and where their tips lie, right or wrong."""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from training.phantoms.anatomy import clavicle_point
from training.phantoms.devices import curve
from training.phantoms.kinds import Form, Kind
from training.phantoms.scene import LEFT, RIGHT, UPPER, Anatomy, Lesion, Point


class Place(StrEnum):
    """Where a device's tip lies."""

    ABOVE_CARINA = "above the carina"
    TOO_HIGH = "too high"
    RIGHT_MAINSTEM = "right main bronchus"
    STOMACH = "stomach"
    OESOPHAGUS = "esophagus"
    RIGHT_LUNG = "right lower lobe bronchus"
    CAVA = "superior vena cava"
    ATRIUM = "right atrium"
    VENTRICLE = "right ventricle"

    @property
    def is_wrong(self) -> bool:
        """Whether the device is to be moved."""
        return self in (Place.TOO_HIGH, Place.RIGHT_MAINSTEM, Place.OESOPHAGUS, Place.RIGHT_LUNG)


_SHARES = {
    Form.ENDOTRACHEAL_TUBE: 0.45,
    Form.NASOGASTRIC_TUBE: 0.35,
    Form.CENTRAL_LINE: 0.35,
    Form.PACEMAKER: 0.3,
    Form.PORT: 0.2,
}
_TUBE = ((Place.ABOVE_CARINA, 0.6), (Place.TOO_HIGH, 0.2), (Place.RIGHT_MAINSTEM, 0.2))
_FEEDING = ((Place.STOMACH, 0.6), (Place.OESOPHAGUS, 0.2), (Place.RIGHT_LUNG, 0.2))
_LINE = ((Place.CAVA, 0.65), (Place.ATRIUM, 0.35))


def place_devices(rng: np.random.Generator, a: Anatomy) -> list[Lesion]:
    """One device or several; a pacemaker and a port lie on different sides."""
    chosen = [form for form, share in _SHARES.items() if rng.random() < share]
    if not chosen:
        chosen = [list(_SHARES)[int(rng.integers(len(_SHARES)))]]
    side = RIGHT if rng.random() < 0.5 else LEFT
    other = LEFT if side == RIGHT else RIGHT
    return [_device(rng, a, form, other if form is Form.PORT else side) for form in chosen]


def _device(rng: np.random.Generator, a: Anatomy, form: Form, side: str) -> Lesion:
    match form:
        case Form.ENDOTRACHEAL_TUBE:
            place = _draw_place(rng, _TUBE)
            return Lesion(Kind.SUPPORT_DEVICES, "", "", form, path=_tube(rng, a, place), place=place)
        case Form.NASOGASTRIC_TUBE:
            place = _draw_place(rng, _FEEDING)
            return Lesion(Kind.SUPPORT_DEVICES, "", "", form, path=_feeding_tube(a, place), place=place)
        case Form.CENTRAL_LINE:
            place = _draw_place(rng, _LINE)
            return Lesion(
                Kind.SUPPORT_DEVICES, side, UPPER, form, path=_central_line(a, side, place), place=place
            )
    return _implant(rng, a, form, side)


def _draw_place(rng: np.random.Generator, shares: tuple[tuple[Place, float], ...]) -> Place:
    return shares[int(rng.choice(len(shares), p=[share for _, share in shares]))][0]


def _tube(rng: np.random.Generator, a: Anatomy, place: Place) -> tuple[Point, ...]:
    """Down the trachea; a scene is some 43 cm wide, so the right height is 3 to 5 cm above the carina."""
    x = a.midline_x
    top = (x + float(rng.uniform(-0.03, 0.03)), -0.20)
    if place is Place.RIGHT_MAINSTEM:
        return curve(top, (x, 0.10), (x, a.carina_y - 0.03), (x - 0.03, a.carina_y + 0.03),
                     (x - 0.046, a.carina_y + 0.06))  # fmt: skip
    above = rng.uniform(0.065, 0.11) if place is Place.ABOVE_CARINA else rng.uniform(0.20, 0.24)
    return curve(top, (x + 0.005, 0.05), (x, a.carina_y - above))


def _feeding_tube(a: Anatomy, place: Place) -> tuple[Point, ...]:
    x, dome = a.midline_x, a.dome_left_y
    start = ((x + 0.02, -0.20), (x + 0.012, 0.12), (x + 0.014, a.carina_y))
    if place is Place.RIGHT_LUNG:
        return curve((x - 0.02, -0.20), (x - 0.008, 0.12), (x - 0.005, a.carina_y - 0.02),
                     (x - 0.05, a.carina_y + 0.06), (x - 0.13, a.carina_y + 0.22))  # fmt: skip
    if place is Place.OESOPHAGUS:
        return curve(*start, (x + 0.018, a.carina_y + 0.13))
    return curve(*start, (x + 0.03, dome - 0.03), (x + 0.10, dome + 0.06), (x + 0.14, dome + 0.10))


def _central_line(a: Anatomy, side: str, place: Place) -> tuple[Point, ...]:
    """From under the clavicle across to the cava."""
    sign = -1.0 if side == RIGHT else 1.0
    x, y = clavicle_point(a, side, 0.62)
    cava = (a.midline_x - 0.042, a.carina_y - 0.03)
    tip = (a.midline_x - 0.042, a.carina_y + 0.03)
    over = ((a.midline_x + sign * 0.075, a.clavicle_medial_y + 0.035),)
    path: tuple[Point, ...] = ((x + sign * 0.05, y + 0.06), (x, y + 0.01), *over, cava, tip)
    if place is Place.ATRIUM:
        path = (*path, (a.midline_x - 0.05, a.carina_y + 0.17))
    return curve(*path)


def _implant(rng: np.random.Generator, a: Anatomy, form: Form, side: str) -> Lesion:
    """Pacemaker or port on the chest wall, with its line."""
    sign = -1.0 if side == RIGHT else 1.0
    x, y = 0.5 + sign * float(rng.uniform(0.25, 0.31)), float(rng.uniform(0.25, 0.32))
    cava = (a.midline_x - 0.038, a.carina_y)
    entry = (a.midline_x + sign * 0.09, a.clavicle_medial_y + 0.04)
    end: tuple[Point, ...]
    if form is Form.PACEMAKER:
        place, end = (
            Place.VENTRICLE,
            ((a.midline_x - 0.04, a.heart_y - 0.02), (a.heart_x + 0.03, a.heart_y + 0.08)),
        )
    else:
        place, end = Place.CAVA, ((a.midline_x - 0.042, a.carina_y + 0.05),)
    return Lesion(
        Kind.SUPPORT_DEVICES, side, UPPER, form, x, y, rng.uniform(0.036, 0.046), rng.uniform(-0.4, 0.4),
        curve((x, y), entry, cava, *end), place,
    )  # fmt: skip
