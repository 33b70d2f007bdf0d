"""Phantoms as DICOM: every variant shows the same picture, headers are complete."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from imaging import display, display_facts
from training.phantoms import displayed, draw
from training.phantoms.collection import read_collection, write_dicom_collection
from training.phantoms.dicom import VARIANTS, Storage, Variant, phantom_dataset, write_phantom


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: f"{v.storage}-{v.photometric}")
def test_display_pipeline_gives_the_training_image(variant: Variant) -> None:
    dataset, _ = phantom_dataset(7, variant, 480)
    shown = display(dataset.pixel_array, display_facts(dataset)).pixels
    small, _ = draw(7)
    shrunk = np.asarray(Image.fromarray(shown).resize(small.shape, Image.Resampling.BICUBIC), dtype=float)
    assert np.corrcoef(shrunk.ravel(), small.ravel())[0, 1] > 0.985
    if variant.storage is not Storage.DX_PROCESSING:  # without a window the viewer's range is its own
        assert np.abs(shrunk - displayed(small)).mean() < 4.0


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
