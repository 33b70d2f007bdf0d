"""The input gate on real files: every chest radiograph passes, nothing else does."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clinical import RadDraftError
from imaging import DecodeLimits, DisplayedImage, load_displayed, read_header
from inference.gate import gate_header, gate_pixels

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
_LIMITS = DecodeLimits(timeout_s=120)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _refusal(path: Path) -> str:
    """Code of the first thing that keeps a file from the model; empty where nothing does."""
    try:
        verdict = gate_header(read_header(path))
        if verdict.accepted:
            verdict = gate_pixels(load_displayed(path, _LIMITS))
    except RadDraftError as refused:
        return refused.code
    return verdict.code


def _refusals(paths: list[Path]) -> dict[str, str]:
    with ThreadPoolExecutor(2) as pool:
        return dict(zip([path.name for path in paths], pool.map(_refusal, paths), strict=True))


def test_every_chest_radiograph_passes_and_nothing_else(real_files: Path) -> None:
    chests = _refusals(_files(real_files / "cxr"))
    assert chests
    assert not {name: code for name, code in chests.items() if code}
    others = _refusals(_files(real_files / "not_cxr") + _files(real_files / "fuzz"))
    assert others
    assert all(others.values())


@pytest.mark.parametrize(
    "name",
    [
        "cr_dental_opg_modality_lut_mono1.dcm",
        "cr_hip_mono2_10bit_jpegll_sv1.dcm",
        "cr_tibia_mono1_10bit_j2k_lossless.dcm",
        "fake_chest_two_rectangles_xr.dcm",
        "mg_mlo_12bit_jpegll.dcm",
        "rf_shoulder_8bit.dcm",
        "voi_lut_sequence_vlut_04.dcm",
    ],
)
def test_other_radiographs_are_refused_without_a_word_of_their_header(real_files: Path, name: str) -> None:
    assert not gate_pixels(load_displayed(real_files / "not_cxr" / name, _LIMITS)).accepted


def test_real_chests_pass_under_other_exposures_and_frames(real_files: Path) -> None:
    for path in sorted((real_files / "cxr").glob("*.dcm")):
        pixels = load_displayed(path, _LIMITS).pixels
        for gamma, frame in ((0.6, 0), (1.5, 0), (1.0, pixels.shape[0] // 8)):
            changed = np.pad((255 * (pixels / 255) ** gamma).astype(np.uint8), frame)
            assert gate_pixels(DisplayedImage(changed)).accepted
        assert not gate_pixels(DisplayedImage(255 - pixels)).accepted


def test_real_chests_pass_under_the_noise_of_a_low_dose(real_files: Path) -> None:
    for path in sorted((real_files / "cxr").glob("*.dcm")):
        pixels = load_displayed(path, _LIMITS).pixels
        height = round(320 * pixels.shape[0] / pixels.shape[1])
        small = np.asarray(Image.fromarray(pixels).resize((320, height), Image.Resampling.BOX))
        noisy = np.clip(small + np.random.default_rng(7).normal(0, 12, small.shape), 0, 255)
        assert gate_pixels(DisplayedImage(noisy.astype(np.uint8))).accepted, path.name
