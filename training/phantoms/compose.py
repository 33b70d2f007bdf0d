"""Seed -> scene: every CheXpert label, VinDr-CXR's drawable classes, and how images vary."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from training.phantoms.anatomy import clavicle_point
from training.phantoms.kinds import KINDS, Form, Kind
from training.phantoms.placing_devices import place_devices
from training.phantoms.scene import LEFT, LOWER, RIGHT, UPPER, Anatomy, Exposure, Lesion, Mark, Pose, Scene

_PORTABLE_SHARE = 0.35
_TENSION_SHARE = 0.35
_COUNTS = (0.12, 0.18, 0.24, 0.22, 0.15, 0.09)  # of findings, none to five
# How often a finding is tried first, beside the others; a mediastinal shift comes with a tension pneumothorax only.
_WEIGHTS = {
    Kind.CALCIFICATION: 0.6, Kind.EMPHYSEMA: 0.5, Kind.MEDIASTINAL_SHIFT: 0.0, Kind.EDEMA: 0.9, Kind.PNEUMONIA: 1.3,
    Kind.LUNG_LESION: 1.3, Kind.LUNG_OPACITY: 1.3, Kind.CONSOLIDATION: 1.3, Kind.ATELECTASIS: 1.3,
}  # fmt: skip
_PLACES = tuple((side, zone) for side in (RIGHT, LEFT) for zone in (UPPER, LOWER))


def compose(seed: int) -> Scene:
    """Draw a frontal scene; the same seed gives the same scene on every machine."""
    rng = np.random.default_rng([seed, 2])
    view = "AP" if rng.random() < _PORTABLE_SHARE else "PA"
    kinds = _draw_kinds(rng)
    traits = _Traits.of(rng, kinds)
    anatomy = _draw_anatomy(rng, view, kinds, traits)
    lesions = _Placing(rng, anatomy, traits).place(kinds)
    pose = _draw_pose(rng, anatomy)
    exposure = _draw_exposure(rng, view, _clearance(anatomy, pose))
    return Scene(seed, pose, anatomy, lesions, exposure, view)


def _draw_kinds(rng: np.random.Generator) -> list[Kind]:
    weights = np.array([_WEIGHTS.get(kind, 1.0) for kind in KINDS])
    count = int(rng.choice(len(_COUNTS), p=_COUNTS))
    chosen = rng.choice(len(KINDS), size=count, replace=False, p=weights / weights.sum())
    return [KINDS[index] for index in chosen]


@dataclass(frozen=True, slots=True)
class _Traits:
    """What shapes the anatomy and is decided before it: forms of findings, and the side of a tension."""

    mediastinum: str
    opacity: str
    lesion: str
    fracture: str
    tension_side: str
    side: str

    @classmethod
    def of(cls, rng: np.random.Generator, kinds: list[Kind]) -> _Traits:
        side = RIGHT if rng.random() < 0.5 else LEFT
        tension = Kind.PNEUMOTHORAX in kinds and rng.random() < _TENSION_SHARE
        return cls(
            mediastinum=_one_of(rng, (Form.WIDENED, Form.AORTA, Form.PULMONARY_ARTERY)),
            opacity=_one_of(rng, (Form.HAZE, Form.HAZE, Form.INFILTRATE, Form.INTERSTITIAL, Form.FIBROSIS)),
            lesion=_one_of(rng, (Form.NODULE, Form.NODULE, Form.NODULE, Form.CAVITY, Form.CYST)),
            fracture=_one_of(rng, (Form.RIB, Form.CLAVICLE)),
            tension_side=side if tension else "",
            side=side,
        )


def _one_of(rng: np.random.Generator, choices: tuple[Form, ...]) -> Form:
    return choices[int(rng.integers(len(choices)))]


def _draw_anatomy(rng: np.random.Generator, view: str, kinds: list[Kind], traits: _Traits) -> Anatomy:
    emphysema = Kind.EMPHYSEMA in kinds
    width = rng.uniform(0.375, 0.395) if emphysema else rng.uniform(0.32, 0.385)
    dome_left = rng.uniform(0.78, 0.82) if emphysema else rng.uniform(0.67, 0.78)
    enlarged = Kind.CARDIOMEGALY in kinds
    ratio = rng.uniform(0.60, 0.68) if enlarged else rng.uniform(0.36, 0.46) * (1.07 if view == "AP" else 1.0)
    turn = 0.0 if traits.tension_side else rng.uniform(-1, 1)
    midline = 0.5 + 0.020 * turn
    if traits.tension_side:
        midline += rng.uniform(0.045, 0.06) * (1 if traits.tension_side == RIGHT else -1)
    form = traits.mediastinum if Kind.ENLARGED_CARDIOMEDIASTINUM in kinds else ""
    heart_rx = ratio * width
    return Anatomy(
        lung_half_width=width,
        apex_y=rng.uniform(0.11, 0.17),
        dome_right_y=dome_left - rng.uniform(0.005, 0.045),
        dome_left_y=dome_left,
        mediastinum_half_width=rng.uniform(0.055, 0.072),
        heart_x=midline + rng.uniform(0.025, 0.05),
        heart_y=dome_left - rng.uniform(0.085, 0.11),
        heart_rx=heart_rx,
        heart_ry=rng.uniform(0.13, 0.15) + 0.25 * (heart_rx - 0.15),
        trachea_half_width=rng.uniform(0.021, 0.028),
        carina_y=rng.uniform(0.325, 0.375) + 0.25 * (dome_left - 0.73),
        clavicle_medial_y=rng.uniform(0.19, 0.23) - (0.02 if view == "AP" else 0.0),
        clavicle_rise=rng.uniform(0.04, 0.115),
        rib_spacing=rng.uniform(0.072, 0.092),
        rib_phase=rng.uniform(0, 1),
        rib_contrast=rng.uniform(0.06, 0.11),
        midline_x=midline,
        spine_x=0.5 - 0.008 * turn,
        dome_curve=1.1 if emphysema else rng.uniform(2.2, 2.9),
        knob_radius=rng.uniform(0.068, 0.08) if form == Form.AORTA else rng.uniform(0.040, 0.048),
        upper_widening=rng.uniform(0.040, 0.055) if form == Form.WIDENED else 0.0,
        artery_bulge=rng.uniform(0.052, 0.062) if form == Form.PULMONARY_ARTERY else 0.0,
        scapula=rng.uniform(0.06, 0.12) if view == "AP" else rng.uniform(0.0, 0.05),
        breast=rng.uniform(0.03, 0.07) if rng.random() < 0.5 else 0.0,
        lung_gray=0.17 if emphysema else rng.uniform(0.22, 0.27),
    )


@dataclass(slots=True)
class _Placing:
    """Puts findings where none hides another; a lung has an upper and a lower place."""

    rng: np.random.Generator
    anatomy: Anatomy
    traits: _Traits
    free: set[tuple[str, str]] = field(default_factory=lambda: set(_PLACES))
    diffuse: Kind | None = None

    def place(self, kinds: list[Kind]) -> tuple[Lesion, ...]:
        """Every finding there is room for, those that change the anatomy or take most room first."""
        placed: list[Lesion] = []
        for kind in sorted(kinds, key=lambda kind: kind not in _SHAPING):
            placed += self._lesions(kind)
        return tuple(placed)

    def _lesions(self, kind: Kind) -> list[Lesion]:
        match kind:
            case Kind.CARDIOMEGALY:
                return [Lesion(kind)]
            case Kind.ENLARGED_CARDIOMEDIASTINUM:
                return [Lesion(kind, form=self.traits.mediastinum)]
            case Kind.EMPHYSEMA:
                return [Lesion(kind, side) for side in (RIGHT, LEFT)]
            case Kind.SUPPORT_DEVICES:
                return place_devices(self.rng, self.anatomy)
            case Kind.EDEMA:
                return self._edema()
            case Kind.PNEUMOTHORAX:
                return self._pneumothorax()
            case Kind.PLEURAL_EFFUSION:
                return self._effusions()
            case Kind.FRACTURE:
                return self._fracture()
            case Kind.LUNG_OPACITY if self.traits.opacity == Form.INTERSTITIAL:
                return self._interstitial()
        return self._local(kind)

    def _take(self, *places: tuple[str, str]) -> None:
        self.free.difference_update(places)

    def _options(self, zones: tuple[str, ...]) -> list[tuple[str, str]]:
        """Free places; the lower left is the heart's when that is large."""
        hidden = self.anatomy.heart_rx > 0.185 or self.anatomy.heart_x > 0.57
        return sorted(
            place for place in self.free if place[1] in zones and not (hidden and place == (LEFT, LOWER))
        )

    def _edema(self) -> list[Lesion]:
        if len(self.free) < len(_PLACES):
            return []
        self.diffuse = Kind.EDEMA
        self._take(*_PLACES)
        a, extent = self.anatomy, self.rng.uniform(0.10, 0.125)
        return [
            Lesion(Kind.EDEMA, side, x=a.midline_x + sign * 0.165, y=a.carina_y + 0.11, extent=extent)
            for side, sign in ((RIGHT, -1.0), (LEFT, 1.0))
        ]

    def _interstitial(self) -> list[Lesion]:
        if len(self.free) < len(_PLACES):
            return []
        self.diffuse = Kind.LUNG_OPACITY
        self._take((RIGHT, LOWER), (LEFT, LOWER))
        y = self.anatomy.carina_y + self.rng.uniform(0.05, 0.12)
        return [
            Lesion(Kind.LUNG_OPACITY, side, LOWER, Form.INTERSTITIAL, x=0.5, y=y) for side in (RIGHT, LEFT)
        ]

    def _pneumothorax(self) -> list[Lesion]:
        side = self.traits.tension_side
        if side:
            self._take((side, UPPER), (side, LOWER))
            return [
                Lesion(Kind.PNEUMOTHORAX, side, UPPER, Form.TENSION, extent=self.rng.uniform(0.13, 0.16)),
                Lesion(Kind.MEDIASTINAL_SHIFT, LEFT if side == RIGHT else RIGHT),
            ]
        options = self._options((UPPER,))
        if not options:
            return []
        side, zone = options[int(self.rng.integers(len(options)))]
        self._take((side, zone))
        return [Lesion(Kind.PNEUMOTHORAX, side, zone, extent=self.rng.uniform(0.07, 0.12))]

    def _effusions(self) -> list[Lesion]:
        lower = [(RIGHT, LOWER), (LEFT, LOWER)]
        options = lower if self.diffuse is Kind.EDEMA else [place for place in lower if place in self.free]
        if not options:
            return []
        both = len(options) == 2 and self.rng.random() < 0.3
        chosen = options if both else [options[int(self.rng.integers(len(options)))]]
        self._take(*chosen)
        return [self._effusion(side) for side, _ in chosen]

    def _effusion(self, side: str) -> Lesion:
        large = self.rng.random() < 0.5
        height = self.rng.uniform(0.20, 0.27) if large else self.rng.uniform(0.11, 0.145)
        form = Form.LARGE if large else Form.SMALL
        return Lesion(Kind.PLEURAL_EFFUSION, side, LOWER, form, extent=height)

    def _fracture(self) -> list[Lesion]:
        a = self.anatomy
        if self.traits.fracture == Form.CLAVICLE:
            x, y = clavicle_point(a, self.traits.side, 0.5)
            step = self.rng.uniform(0.024, 0.032)
            return [
                Lesion(
                    Kind.FRACTURE, self.traits.side, UPPER, Form.CLAVICLE, x, y + step / 2, 0.045, angle=step
                )
            ]
        options = self._options((UPPER, LOWER))
        if not options:
            return []
        side, zone = options[int(self.rng.integers(len(options)))]
        self._take((side, zone))
        distance = self.rng.uniform(0.22, 0.27)
        wanted = self.rng.uniform(0.30, 0.40) if zone == UPPER else self.rng.uniform(0.50, 0.58)
        bow = distance - 0.06
        lift = 0.55 * bow - 1.9 * bow**2
        number = round((wanted - lift) / a.rib_spacing + a.rib_phase - 0.5)
        y = (number + 0.5 - a.rib_phase) * a.rib_spacing + lift
        x = 0.5 + (-distance if side == RIGHT else distance)
        return [Lesion(Kind.FRACTURE, side, zone, Form.RIB, x, y, extent=0.052)]

    def _local(self, kind: Kind) -> list[Lesion]:
        """A finding of one place of one lung."""
        zones = {
            Kind.ATELECTASIS: (LOWER,),
            Kind.LUNG_OPACITY: (UPPER,) if self.traits.opacity == Form.FIBROSIS else (UPPER, LOWER),
        }.get(kind, (UPPER, LOWER))
        options = self._options(zones)
        if not options:
            return []
        side, zone = options[int(self.rng.integers(len(options)))]
        self._take((side, zone))
        return [self._shaped(kind, side, zone)]

    def _form_of(self, kind: Kind) -> str:
        forms = {
            Kind.LUNG_LESION: self.traits.lesion,
            Kind.LUNG_OPACITY: self.traits.opacity,
            Kind.CONSOLIDATION: Form.DENSE,
        }
        return forms.get(kind, "")

    def _shaped(self, kind: Kind, side: str, zone: str) -> Lesion:
        rng, a, sign = self.rng, self.anatomy, -1.0 if side == RIGHT else 1.0
        dome = a.dome_right_y if side == RIGHT else a.dome_left_y
        inner = 0.20 if (side == LEFT and zone == LOWER) else 0.15
        low, high = (a.apex_y + 0.12, a.apex_y + 0.22) if zone == UPPER else (dome - 0.20, dome - 0.09)
        if kind is Kind.ATELECTASIS:
            return Lesion(
                kind, side, zone, x=0.5 + sign * rng.uniform(0.21, 0.25), y=dome - rng.uniform(0.06, 0.11),
                extent=rng.uniform(0.022, 0.032), angle=sign * rng.uniform(-0.45, -0.10),
            )  # fmt: skip
        if kind is Kind.PLEURAL_OTHER:
            y = a.apex_y + 0.24 if zone == UPPER else dome - 0.12
            return Lesion(
                kind, side, zone, y=y, extent=rng.uniform(0.026, 0.036), angle=rng.uniform(0.18, 0.26)
            )
        if kind is Kind.LUNG_OPACITY and self.traits.opacity == Form.FIBROSIS:
            return Lesion(kind, side, zone, Form.FIBROSIS, x=0.5, y=a.apex_y + rng.uniform(0.15, 0.20))
        smallest, largest, margin = _SIZES[kind]
        form = self._form_of(kind)
        if form in (Form.CAVITY, Form.CYST):
            smallest, largest = 0.055, 0.08
        x = 0.5 + sign * rng.uniform(inner + 0.02, max(inner + 0.03, a.lung_half_width - margin))
        return Lesion(
            kind, side, zone, form, x, rng.uniform(low, high), rng.uniform(smallest, largest),
            angle=rng.uniform(0.8, 1.25),
        )  # fmt: skip


# Findings that need whole lungs or change the anatomy are placed before those of one place.
_SHAPING = (Kind.EDEMA, Kind.PNEUMOTHORAX, Kind.EMPHYSEMA)
# Smallest and largest extent, and how far the centre stays from the outer edge of the lung.
_SIZES = {
    Kind.CONSOLIDATION: (0.085, 0.125, 0.10),
    Kind.PNEUMONIA: (0.10, 0.13, 0.10),
    Kind.LUNG_OPACITY: (0.09, 0.125, 0.10),
    Kind.LUNG_LESION: (0.042, 0.078, 0.075),
    Kind.CALCIFICATION: (0.045, 0.06, 0.075),
}


def _draw_pose(rng: np.random.Generator, a: Anatomy) -> Pose:
    """Any pose that leaves both lungs in the picture."""
    zoom, stretch = rng.uniform(0.72, 1.14), rng.uniform(0.9, 1.1)
    turned = Pose(zoom, 0.0, 0.0, float(np.deg2rad(rng.uniform(-9, 9))), stretch)
    left, top, right, bottom = _clearance(a, turned)
    shift_x, shift_y = _within(rng, left, right), _within(rng, top, bottom)
    return Pose(zoom, shift_x, shift_y, turned.rotation_rad, stretch)


def _within(rng: np.random.Generator, before: float, after: float) -> float:
    """Shift of at most an eighth that uses up neither clearance."""
    low, high = max(-0.125, min(-before, 0.0)), min(0.125, max(after, 0.0))
    return rng.uniform(low, high)


def _clearance(a: Anatomy, pose: Pose) -> tuple[float, float, float, float]:
    """Distance of both lungs from the left, top, right and bottom edge of the image, as fractions."""
    bottom = max(a.dome_left_y, a.dome_right_y) + a.dome_curve * (a.lung_half_width - 0.17) ** 2
    edges = [(0.5 + sign * a.lung_half_width, y) for sign in (-1, 1) for y in (a.apex_y, bottom)]
    cos, sin = np.cos(pose.rotation_rad), np.sin(pose.rotation_rad)
    dx = (np.array([x for x, _ in edges]) - 0.5) * pose.stretch
    dy = np.array([y for _, y in edges]) - 0.5
    x = 0.5 + pose.shift_x + pose.zoom * (cos * dx - sin * dy)
    y = 0.5 + pose.shift_y + pose.zoom * (sin * dx + cos * dy)
    return float(x.min()), float(y.min()), float(1 - x.max()), float(1 - y.max())


def _draw_exposure(
    rng: np.random.Generator, view: str, clearance: tuple[float, float, float, float]
) -> Exposure:
    collimated = rng.random() < 0.5
    left, top, right, bottom = (
        float(rng.uniform(0, min(0.12, max(0.0, room - 0.02)))) if collimated else 0.0 for room in clearance
    )
    portable = view == "AP"
    return Exposure(
        gamma=rng.uniform(0.72, 1.38),
        gain=rng.uniform(0.82, 1.12),
        offset=rng.uniform(-0.04, 0.07),
        noise=rng.uniform(0.008, 0.028) if portable else rng.uniform(0.004, 0.020),
        collimation=(left, top, right, bottom),
        scatter=rng.uniform(0.10, 0.35) if portable else rng.uniform(0.0, 0.20),
        blur=rng.uniform(0.2, 0.8) if rng.random() < 0.3 else 0.0,
        marks=(*_draw_markers(rng), *_draw_text(rng, view)),
    )


def _draw_markers(rng: np.random.Generator) -> tuple[Mark, ...]:
    """Lead letters by the patient's sides: R on the left of the image, L on the right, one, both or none."""
    kind = rng.random()
    letters = "R" if kind < 0.5 else "L" if kind < 0.75 else "RL" if kind < 0.85 else ""
    y, height = (0.04, 0.14) if rng.random() < 0.7 else (0.80, 0.92), float(rng.uniform(0.032, 0.055))
    return tuple(
        Mark(letter, float(rng.uniform(0.03, 0.10) if letter == "R" else rng.uniform(0.86, 0.93)),
             float(rng.uniform(*y)), height)
        for letter in letters
    )  # fmt: skip


def _draw_text(rng: np.random.Generator, view: str) -> tuple[Mark, ...]:
    """Burned-in text in a corner: view and position of the patient, time, a number."""
    if rng.random() >= 0.35:
        return ()
    position = ("PORTABLE", "SUPINE", "SEMI ERECT", "BED") if view == "AP" else ("ERECT", "STANDING", "180CM")
    words = [
        f"{view} {position[int(rng.integers(len(position)))]}",
        f"{rng.integers(24):02d}:{rng.integers(60):02d}",
        f"PHANTOM {rng.integers(1000):03d}",
    ]
    x, y = ((0.02, 0.02), (0.60, 0.02), (0.02, 0.90), (0.60, 0.90))[int(rng.integers(4))]
    count = int(rng.integers(1, 4))
    return tuple(Mark(text, x, y + 0.03 * line, 0.022) for line, text in enumerate(words[:count]))
