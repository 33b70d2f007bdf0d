"""Phantoms as DICOM: every variant shows the same picture, headers are complete."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest

from imaging import display, display_facts
from inference.checks.orientation import orientation_check
from inference.gate import gate_header, gate_pixels
from training.phantoms import displayed, draw
from training.phantoms.collection import read_collection, write_dicom_collection
from training.phantoms.dicom import (
    VARIANTS,
    WIDER_VARIANTS,
    Storage,
    Variant,
    phantom_dataset,
    stated_truth,
    write_phantom,
)
from training.phantoms.manners import Manner
from training.phantoms.subjects import Subject


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: f"{v.storage}-{v.photometric}")
def test_display_pipeline_gives_the_image_that_was_drawn(variant: Variant) -> None:
    dataset, _ = phantom_dataset(7, variant, 480)
    shown = display(dataset.pixel_array, display_facts(dataset)).pixels.astype(float)
    drawn = displayed(draw(7, 480)[0])
    assert np.corrcoef(shown.ravel(), drawn.ravel())[0, 1] > 0.995
    if variant.storage is not Storage.DX_PROCESSING:  # without a window the viewer's range is its own
        assert np.abs(shown - drawn).mean() < 0.1


def test_same_seed_gives_same_bytes() -> None:
    written = []
    for _ in range(2):
        buffer = io.BytesIO()
        phantom_dataset(3, VARIANTS[0], 64)[0].save_as(buffer, enforce_file_format=True)
        written.append(buffer.getvalue())
    assert written[0] == written[1]


def test_headers_say_chest_and_synthetic(tmp_path: Path) -> None:
    write_phantom(tmp_path / "one.dcm", 12, VARIANTS[1], 64)
    dataset = pydicom.dcmread(tmp_path / "one.dcm")
    assert (dataset.Modality, dataset.BodyPartExamined, dataset.ViewPosition) == ("CR", "CHEST", "PA")
    assert str(dataset.PatientName) == "PHANTOM^012"
    assert dataset.BitsAllocated == 16
    assert "SYNTHETIC" in dataset.ImageComments
    assert dataset.AccessionNumber and dataset.PatientID and dataset.IssuerOfPatientID


def test_collection_holds_every_variant_and_its_truth(tmp_path: Path) -> None:
    write_dicom_collection(tmp_path, count=5, first_seed=0, size_px=64)
    entries = list(read_collection(tmp_path))
    stored = [pydicom.dcmread(tmp_path / entry.image) for entry in entries]
    assert len({(one.SOPClassUID, one.PhotometricInterpretation) for one in stored}) == 5
    assert len({one.SOPInstanceUID for one in stored}) == 5


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy is not installed")
@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: f"{v.storage}-{v.photometric}")
def test_dciodvfy_finds_no_error(variant: Variant, tmp_path: Path) -> None:
    write_phantom(tmp_path / "one.dcm", 5, variant, 64)
    said = subprocess.run(
        ["dciodvfy", str(tmp_path / "one.dcm")], capture_output=True, text=True, check=False
    )
    assert "Error" not in said.stderr


_ADDED = WIDER_VARIANTS[len(VARIANTS) :]


def _name(variant: Variant) -> str:
    return f"{variant.storage}-{variant.photometric}-{variant.bits_stored}-{variant.manner}".replace(" ", "_")


def test_phantoms_are_stored_with_8_to_16_bits_in_every_manner() -> None:
    assert {one.bits_stored for one in WIDER_VARIANTS} >= {8, 10, 12, 14, 15, 16}
    assert {one.manner for one in WIDER_VARIANTS} == set(Manner)


@pytest.mark.parametrize("variant", _ADDED, ids=_name)
def test_every_manner_shows_the_phantom_and_passes_the_gate(variant: Variant) -> None:
    for seed in (8_100_000, 8_100_001):
        dataset, _ = phantom_dataset(seed, variant, 320)
        assert (dataset.BitsStored, dataset.BitsAllocated) == (
            variant.bits_stored,
            8 if variant.bits_stored == 8 else 16,
        )
        shown = display(dataset.pixel_array, display_facts(dataset))
        drawn = displayed(draw(seed, 320)[0])
        assert np.corrcoef(shown.pixels.ravel(), drawn.ravel())[0, 1] > 0.9
        assert gate_header(dataset).accepted
        assert gate_pixels(shown).accepted


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy is not installed")
@pytest.mark.parametrize(
    ("variant", "subject"),
    [*((one, Subject.FRONTAL) for one in _ADDED), *zip(_ADDED[1:], [*Subject] * 2, strict=False)],
    ids=lambda value: _name(value) if isinstance(value, Variant) else value.value,
)
def test_dciodvfy_finds_no_error_in_any_manner(variant: Variant, subject: Subject, tmp_path: Path) -> None:
    dataset, _ = phantom_dataset(7, variant, 64, subject=subject)
    dataset.save_as(tmp_path / "one.dcm", enforce_file_format=True)
    said = subprocess.run(
        ["dciodvfy", str(tmp_path / "one.dcm")], capture_output=True, text=True, check=False
    )
    assert "Error" not in said.stderr, said.stderr


def test_headers_of_what_is_not_frontal_are_honest_in_half_of_the_cases() -> None:
    said = {Subject.MIRRORED: set(), Subject.STRANGER: set()}
    for subject, found in said.items():
        for seed in (0, 1, 6, 7):
            dataset, truth = phantom_dataset(seed, VARIANTS[0], 64, subject=subject)
            found.add((dataset.BodyPartExamined, tuple(dataset.PatientOrientation)))
            assert (stated_truth(truth) == truth) is (seed >= 6)
    assert said[Subject.MIRRORED] == {("CHEST", ("L", "F")), ("CHEST", ("R", "F"))}
    assert {part for part, _ in said[Subject.STRANGER]} == {"CHEST", "HAND", "KNEE"}


def test_mirrored_and_lateral_phantoms_are_caught_by_an_honest_header() -> None:
    mirrored, _ = phantom_dataset(7, VARIANTS[0], 320, subject=Subject.MIRRORED)
    assert orientation_check(mirrored).status.value == "fail"
    for variant in WIDER_VARIANTS:
        lateral, _ = phantom_dataset(7, variant, 320, subject=Subject.LATERAL)
        assert gate_header(lateral).code == "lateral-view"


@pytest.mark.parametrize(
    "seed", [0, 1, 2, 4, 5]
)  # an abdomen (3) has the layout of a chest: the header's to refuse
def test_strangers_whose_header_says_chest_are_refused_by_their_pixels(seed: int) -> None:
    dataset, truth = phantom_dataset(seed, VARIANTS[0], 320, subject=Subject.STRANGER)
    assert gate_header(dataset).accepted, truth.view
    assert not gate_pixels(display(dataset.pixel_array, display_facts(dataset))).accepted, truth.view
