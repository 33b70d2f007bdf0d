"""One phantom radiograph with its exact ground truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.phantoms.anatomy import Masks, anatomy_masks, region_masks
from training.phantoms.compose import compose
from training.phantoms.exposure import expose, open_window
from training.phantoms.grid import ANALYSIS_SIZE_PX, Array, Grid, grid_of
from training.phantoms.kinds import KINDS, Kind, vindr_name
from training.phantoms.lesions import lesion_mask
from training.phantoms.picture import image_of
from training.phantoms.scene import BILATERAL, Lesion, Scene

_SLIVER = 0.02

FractionBox = tuple[float, float, float, float]

"""Regions of the phantoms that the embedded model was trained on."""


@dataclass(frozen=True, slots=True)
class TrueFinding:
    """A finding as it is on the image: boxes are fractions (x1, y1, x2, y2) of width and height."""

    label: Kind
    side: str
    zone: str
    form: str
    boxes: tuple[FractionBox, ...]

    @property
    def vindr(self) -> str:
        """VinDr-CXR's class; empty where it has none."""
        return vindr_name(self.label, self.form)


@dataclass(frozen=True, slots=True)
class TrueDevice:
    """A tube, line or implant: its box, its tip (x, y) as fractions of the image, and where that lies."""

    form: str
    side: str
    place: str
    tip: tuple[float, float]
    box: FractionBox


@dataclass(frozen=True, slots=True)
class Truth:
    """What is to be seen on one phantom.

    `view` is ``PA``, ``AP``, ``LATERAL``, or the name of what is no chest; `mirrored` says that the image's left
    is the patient's left. Sides of findings are the patient's in any case.
    """

    seed: int
    findings: tuple[TrueFinding, ...]
    regions: dict[str, FractionBox]
    view: str = "PA"
    mirrored: bool = False
    devices: tuple[TrueDevice, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels present, in alphabetical order; empty for CheXpert's No Finding."""
        return tuple(sorted(finding.label.value for finding in self.findings))

    @property
    def is_frontal(self) -> bool:
        """Whether this is a chest from the front, the right way round: what questions are asked about."""
        return self.view in ("PA", "AP") and not self.mirrored


def box_of(mask: NDArray[np.floating] | NDArray[np.bool_]) -> FractionBox | None:
    """Smallest box round the pixels where the mask is at least one half; None for an empty mask."""
    inside = mask if mask.dtype == np.bool_ else mask >= 0.5
    columns, rows = np.flatnonzero(inside.any(axis=0)), np.flatnonzero(inside.any(axis=1))
    if not len(columns):
        return None
    height, width = mask.shape
    return (
        float(columns[0] / width), float(rows[0] / height),
        float((columns[-1] + 1) / width), float((rows[-1] + 1) / height),
    )  # fmt: skip


def draw(seed: int, size_px: int = ANALYSIS_SIZE_PX) -> tuple[NDArray[np.float32], Truth]:
    """Phantom image (size_px, size_px), 0 black .. 1 white as displayed, and its truth.

    The truth does not depend on `size_px`: boxes are measured on the analysis grid, to 1/160 of the width.
    """
    scene = compose(seed)
    grid, anatomy, lesions = _masks(scene, ANALYSIS_SIZE_PX)
    truth = _truth(scene, grid, anatomy, lesions)
    if size_px != ANALYSIS_SIZE_PX:
        grid, anatomy, lesions = _masks(scene, size_px)
    return expose(scene, image_of(scene, grid, anatomy, lesions)), truth


def truth_of(seed: int) -> Truth:
    """Truth of a phantom without drawing its image."""
    scene = compose(seed)
    return _truth(scene, *_masks(scene, ANALYSIS_SIZE_PX))


def displayed(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Eight-bit grayscale of an image in 0..1."""
    return np.round(image * 255).astype(np.uint8)


def _masks(scene: Scene, size_px: int) -> tuple[Grid, Masks, list[Array]]:
    grid = grid_of(scene, size_px)
    anatomy = anatomy_masks(scene, grid)
    return grid, anatomy, [lesion_mask(scene, lesion, grid, anatomy) for lesion in scene.lesions]


def _truth(scene: Scene, grid: Grid, anatomy: Masks, masks: list[Array]) -> Truth:
    shown = _Shown(scene)
    boxes = [shown.box(mask) for mask in masks]
    found: list[TrueFinding] = []
    for kind in KINDS:
        parts = [
            (lesion, box)
            for lesion, box in zip(scene.lesions, boxes, strict=True)
            if lesion.kind is kind and box is not None
        ]
        if not parts:
            continue
        lesion = parts[0][0]
        side, form = _side_and_form([one for one, _ in parts])
        found.append(TrueFinding(kind, side, lesion.zone, form, tuple(box for _, box in parts)))
    regions = {
        name: box
        for name, mask in region_masks(scene, grid, anatomy).items()
        if (box := shown.box(mask)) is not None and not _is_sliver(box)
    }
    return Truth(scene.seed, tuple(found), regions, scene.view, devices=_devices(scene, grid, boxes))


def _side_and_form(parts: list[Lesion]) -> tuple[str, str]:
    """Side and form of a finding of one or two parts; several devices have neither in common."""
    sides, forms = {one.side for one in parts}, {one.form for one in parts}
    if parts[0].kind is Kind.SUPPORT_DEVICES and len(parts) > 1:
        return "", ""
    side = parts[0].side if len(sides) == 1 else BILATERAL
    return side, parts[0].form if len(forms) == 1 else ""


def _is_sliver(box: FractionBox) -> bool:
    """Whether too little of a region is in the picture to point at."""
    return min(box[2] - box[0], box[3] - box[1]) < _SLIVER


class _Shown:
    """Boxes of what the collimator leaves to be seen."""

    def __init__(self, scene: Scene) -> None:
        self._window = open_window(scene, ANALYSIS_SIZE_PX) if any(scene.exposure.collimation) else None

    def box(self, mask: NDArray[np.floating] | NDArray[np.bool_]) -> FractionBox | None:
        if self._window is None:
            return box_of(mask)
        open_mask = np.zeros_like(mask)
        open_mask[self._window] = mask[self._window]
        return box_of(open_mask)


def _devices(scene: Scene, grid: Grid, boxes: list[FractionBox | None]) -> tuple[TrueDevice, ...]:
    found = []
    for lesion, box in zip(scene.lesions, boxes, strict=True):
        if lesion.kind is Kind.SUPPORT_DEVICES and box is not None:
            ((x, y),) = (grid.pixels_of([lesion.path[-1]]) + 0.5) / grid.size_px
            found.append(TrueDevice(lesion.form, lesion.side, lesion.place, (float(x), float(y)), box))
    return tuple(found)
