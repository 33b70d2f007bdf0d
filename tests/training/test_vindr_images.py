"""VinDr-CXR rendering: as a viewer shows it, or as the paper rendered it, defects and all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmread

from training.datasets.vindr_images import convert_images
from training.phantoms.dicom import VARIANTS, phantom_dataset


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """One MONOCHROME1 and one MONOCHROME2 phantom, 300 columns x 200 rows, in VinDr's layout."""
    (tmp_path / "test").mkdir()
    for variant in VARIANTS:
        dataset, _ = phantom_dataset(7, variant, 300)
        name = dataset.PhotometricInterpretation
        cropped = dataset.pixel_array[50:250]
        dataset.PixelData, dataset.Rows = cropped.tobytes(), cropped.shape[0]
        dataset.save_as(tmp_path / "test" / f"{name}.dicom", enforce_file_format=True)
    return tmp_path


def pixels(archive: Path, name: str) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return np.asarray(Image.open(archive / "test_jpg" / f"{name}.jpg"), dtype=np.float64)


def stored(archive: Path, name: str) -> Dataset:
    return dcmread(archive / "test" / f"{name}.dicom")


def test_default_shows_monochrome1_as_a_viewer_does_and_keeps_the_sides(archive: Path) -> None:
    assert convert_images(archive, "test") == 2
    first, second = pixels(archive, "MONOCHROME1"), pixels(archive, "MONOCHROME2")
    assert first.shape == second.shape == (200, 300)
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.9


def test_compat_leaves_monochrome1_inverted_and_squashes_to_512(archive: Path) -> None:
    convert_images(archive, "test", radvlm_compat=True)
    first, second = pixels(archive, "MONOCHROME1"), pixels(archive, "MONOCHROME2")
    assert first.shape == second.shape == (512, 512)
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] < -0.9
    raw = stored(archive, "MONOCHROME2").pixel_array.astype(np.float64)
    stretched = (raw - raw.min()) / (raw.max() - raw.min()) * 255
    resized = np.asarray(
        Image.fromarray(stretched.astype(np.uint8)).resize((512, 512), Image.Resampling.LANCZOS)
    )
    assert np.abs(second - resized).mean() < 3


def test_stopped_conversion_goes_on_and_only_compat_loses_the_sizes(archive: Path) -> None:
    convert_images(archive, "test")
    (archive / "test_jpg/MONOCHROME1.jpg").unlink()
    assert convert_images(archive, "test") == 1
    sizes = json.loads((archive / "image_resolutions_test.json").read_text())
    assert sizes == {"MONOCHROME1": [200, 300], "MONOCHROME2": [200, 300]}
    assert convert_images(archive, "test", radvlm_compat=True) == 0
    assert json.loads((archive / "image_resolutions_test.json").read_text()) == {}
