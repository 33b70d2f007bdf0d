"""One phantom radiograph with its exact ground truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.phantoms.render import ANALYSIS_SIZE_PX, anatomy_masks, expose, grid_of, image_of, lesion_mask
from training.phantoms.scene import Kind, Scene, compose

FractionBox = tuple[float, float, float, float]

REGIONS = (
    "right lung",
    "left lung",
    "cardiac silhouette",
    "mediastinum",
    "trachea",
    "spine",
    "right clavicle",
    "left clavicle",
    "right hemidiaphragm",
    "left hemidiaphragm",
)


@dataclass(frozen=True, slots=True)
class TrueFinding:
    """A finding as it is on the image: boxes are fractions (x1, y1, x2, y2) of width and height."""

    label: Kind
    side: str
    zone: str
    form: str
    boxes: tuple[FractionBox, ...]


@dataclass(frozen=True, slots=True)
class Truth:
    """What is to be seen on one phantom."""

    seed: int
    findings: tuple[TrueFinding, ...]
    regions: dict[str, FractionBox]

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels present, in alphabetical order."""
        return tuple(sorted(finding.label.value for finding in self.findings))


def box_of(mask: NDArray[np.float32]) -> FractionBox | None:
    """Smallest box round the pixels where the mask is at least one half; None for an empty mask."""
    inside = mask >= 0.5
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
    grid = grid_of(scene, ANALYSIS_SIZE_PX)
    anatomy = anatomy_masks(scene, grid)
    lesions = [lesion_mask(scene, lesion, grid, anatomy) for lesion in scene.lesions]
    truth = _truth(scene, anatomy, lesions)
    if size_px != ANALYSIS_SIZE_PX:
        grid = grid_of(scene, size_px)
        anatomy = anatomy_masks(scene, grid)
        lesions = [lesion_mask(scene, lesion, grid, anatomy) for lesion in scene.lesions]
    return expose(scene, image_of(scene, grid, anatomy, lesions)), truth


def truth_of(seed: int) -> Truth:
    """Truth of a phantom without drawing its image."""
    scene = compose(seed)
    grid = grid_of(scene, ANALYSIS_SIZE_PX)
    anatomy = anatomy_masks(scene, grid)
    return _truth(scene, anatomy, [lesion_mask(scene, lesion, grid, anatomy) for lesion in scene.lesions])


def displayed(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Eight-bit grayscale of an image in 0..1."""
    return np.round(image * 255).astype(np.uint8)


def _truth(scene: Scene, anatomy: dict[str, NDArray[np.float32]], masks: list[NDArray[np.float32]]) -> Truth:
    found: list[TrueFinding] = []
    for kind in Kind:
        parts = [
            (lesion, box)
            for lesion, mask in zip(scene.lesions, masks, strict=True)
            if lesion.kind is kind and (box := box_of(mask)) is not None
        ]
        if not parts:
            continue
        sides = {lesion.side for lesion, _ in parts}
        lesion = parts[0][0]
        side = lesion.side if len(sides) == 1 else "bilateral"
        form = lesion.form if len(sides) == 1 else ""
        found.append(TrueFinding(kind, side, lesion.zone, form, tuple(box for _, box in parts)))
    regions = {name: box for name in REGIONS if (box := box_of(anatomy[name])) is not None}
    return Truth(scene.seed, tuple(found), regions)
