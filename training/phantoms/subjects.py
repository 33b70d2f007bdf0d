"""Everything that comes to a reader of chest radiographs: frontal views, mirrored ones, lateral ones, strangers."""

from __future__ import annotations

import dataclasses
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from training.phantoms.compose import compose
from training.phantoms.exposure import expose
from training.phantoms.grid import ANALYSIS_SIZE_PX, grid_of
from training.phantoms.lateral import lateral_image
from training.phantoms.phantom import FractionBox, Truth, box_of, draw
from training.phantoms.strangers import stranger_image, stranger_of


class Subject(StrEnum):
    """What was taken, and whether it was stored the right way round."""

    FRONTAL = "frontal"
    MIRRORED = "mirrored"
    LATERAL = "lateral"
    STRANGER = "stranger"


def subject_of(seed: int, others_share: float) -> Subject:
    """Subject of a seed where `others_share` of all are not frontal: a third of those each."""
    rng = np.random.default_rng([seed, 51])
    if rng.random() >= others_share:
        return Subject.FRONTAL
    return (Subject.MIRRORED, Subject.LATERAL, Subject.STRANGER)[int(rng.integers(3))]


def draw_subject(seed: int, size_px: int, subject: Subject) -> tuple[NDArray[np.float32], Truth]:
    """Image (size_px, size_px), 0 black .. 1 white as displayed, and its truth.

    A mirrored image is the frontal one of the seed seen from behind, lead letters included; its boxes are where
    things are on the image, its sides the patient's.
    """
    if subject in (Subject.FRONTAL, Subject.MIRRORED):
        image, truth = draw(seed, size_px)
        return (image, truth) if subject is Subject.FRONTAL else (_flipped(image), _mirrored(truth))
    scene = compose(seed)
    if subject is Subject.STRANGER:
        drawn = stranger_image(scene, grid_of(scene, size_px))
        return expose(scene, drawn), Truth(seed, (), {}, stranger_of(seed).value)
    _, masks = lateral_image(scene, grid_of(scene, ANALYSIS_SIZE_PX))
    drawn, _ = lateral_image(scene, grid_of(scene, size_px))
    regions = {name: box for name, mask in masks.items() if (box := box_of(mask)) is not None}
    return expose(scene, drawn), Truth(seed, (), regions, "LATERAL")


def _flipped(image: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.ascontiguousarray(image[:, ::-1])


def _mirrored(truth: Truth) -> Truth:
    findings = tuple(
        dataclasses.replace(one, boxes=tuple(_across(box) for box in one.boxes)) for one in truth.findings
    )
    devices = tuple(
        dataclasses.replace(one, box=_across(one.box), tip=(1 - one.tip[0], one.tip[1]))
        for one in truth.devices
    )
    regions = {name: _across(box) for name, box in truth.regions.items()}
    return dataclasses.replace(truth, findings=findings, devices=devices, regions=regions, mirrored=True)


def _across(box: FractionBox) -> FractionBox:
    return (1 - box[2], box[1], 1 - box[0], box[3])
