"""Real radiographs, through the true child process."""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from clinical import RadDraftError
from imaging import DecodeLimits, DisplayedImage, load_displayed

_LIMITS = DecodeLimits(timeout_s=120)


def _outcome(path: Path) -> DisplayedImage | RadDraftError:
    try:
        return load_displayed(path, _LIMITS)
    except RadDraftError as refused:
        return refused


def _outcomes(folder: Path) -> dict[Path, DisplayedImage | RadDraftError]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(paths, pool.map(_outcome, paths), strict=True))


def test_every_chest_radiograph_is_displayed_in_every_transfer_syntax(real_files: Path) -> None:
    same_acquisition: dict[str, list[DisplayedImage]] = defaultdict(list)
    for path, outcome in _outcomes(real_files / "cxr").items():
        assert isinstance(outcome, DisplayedImage)
        assert outcome.steps[-1] == "inverted"
        same_acquisition[path.name.split("_")[0]].append(outcome)
    for images in same_acquisition.values():
        for image in images[1:]:
            # The lossy ones differ by single grey levels.
            assert np.abs(image.pixels.astype(int) - images[0].pixels).mean() < 2.0


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("jpeg_xl_12bit_mono.dcm", "unsupported-transfer-syntax"),
        ("us_multiframe_ybr.dcm", "multi-frame"),
        ("sc_rgb_color.dcm", "colour-image"),
        ("encapsulated_pdf.dcm", "no-pixel-data"),
        ("cr_tibia_mono1_10bit_jpeg_extended12.dcm", "decode-failed"),
    ],
)
def test_what_cannot_be_displayed_says_why(real_files: Path, name: str, code: str) -> None:
    outcome = _outcome(real_files / "not_cxr" / name)
    assert isinstance(outcome, RadDraftError)
    assert outcome.code == code
