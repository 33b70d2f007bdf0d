"""From a file to the displayed image, through the true child process."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from clinical import Permanent, Quarantine, RadDraftError, Transient
from imaging import (
    DecodeLimits,
    DisplayedImage,
    DisplayFacts,
    decodable_transfer_syntaxes,
    display,
    load_displayed,
)
from tests.imaging.crafted import radiograph, saved

# pydicom warns about the very damage these files were made for.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")

_LIMITS = DecodeLimits(timeout_s=90)
_RAMP = np.arange(600, dtype=np.uint16).reshape(20, 30)


def _code(path: Path, kind: type[RadDraftError], limits: DecodeLimits = _LIMITS) -> str:
    with pytest.raises(kind) as caught:
        load_displayed(path, limits)
    return caught.value.code


def test_the_child_displays_what_the_pipeline_displays(tmp_path: Path) -> None:
    shown = load_displayed(saved(radiograph(_RAMP), tmp_path / "a"), _LIMITS)
    expected = display(_RAMP, DisplayFacts())
    assert np.array_equal(shown.pixels, expected.pixels)
    assert shown.steps == expected.steps


def test_signed_rescaled_monochrome1_is_displayed_as_stated(tmp_path: Path) -> None:
    stored = _RAMP.astype(np.int16) - 300
    dataset = radiograph(
        stored,
        PhotometricInterpretation="MONOCHROME1",
        RescaleSlope="2",
        RescaleIntercept="10",
        WindowCenter="10",
        WindowWidth="1200",
    )
    shown = load_displayed(saved(dataset, tmp_path / "a"), _LIMITS)
    assert shown.steps == ("rescale", "window-linear", "inverted")
    assert shown.pixels[0, 0] == 255
    assert shown.pixels[-1, -1] == 0


def test_a_grey_capture_in_colour_channels_is_displayed_and_a_coloured_one_refused(tmp_path: Path) -> None:
    grey = (_RAMP // 3).astype(np.uint8)
    channels = np.stack([grey] * 3, axis=-1)
    shown = load_displayed(saved(radiograph(channels), tmp_path / "grey"), _LIMITS)
    assert np.array_equal(shown.pixels, display(grey, DisplayFacts()).pixels)
    channels[3, 4] = (200, 0, 0)
    assert _code(saved(radiograph(channels), tmp_path / "colour"), Permanent) == "colour-image"


def test_overlay_planes_in_unused_bits_are_not_displayed(tmp_path: Path) -> None:
    stored = (_RAMP | 0x8000).astype(np.uint16)
    dataset = radiograph(stored, BitsStored=12, HighBit=11)
    dataset.add_new((0x6000, 0x0010), "US", 20)
    dataset.add_new((0x6000, 0x0011), "US", 30)
    dataset.add_new((0x6000, 0x0100), "US", 16)
    dataset.add_new((0x6000, 0x0102), "US", 15)
    shown = load_displayed(saved(dataset, tmp_path / "a"), _LIMITS)
    assert np.array_equal(shown.pixels, display(_RAMP, DisplayFacts()).pixels)


def _bare(**attributes: object) -> Dataset:
    dataset = radiograph(_RAMP)
    for keyword, value in attributes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    return dataset


@pytest.mark.parametrize(
    ("attributes", "kind", "code"),
    [
        ({"Rows": 40000, "Columns": 40000}, Quarantine, "too-many-pixels"),
        ({"NumberOfFrames": 2_000_000}, Quarantine, "too-many-pixels"),
        ({"NumberOfFrames": 3}, Permanent, "multi-frame"),
        ({"Rows": 21}, Quarantine, "decode-failed"),
        ({"Rows": None}, Quarantine, "no-image-size"),
        ({"PixelData": None}, Quarantine, "no-pixel-data"),
        ({"PhotometricInterpretation": "ODD"}, Quarantine, "unknown-photometric"),
    ],
)
def test_what_the_header_already_rules_out_is_not_decoded(
    tmp_path: Path, attributes: dict[str, object], kind: type[RadDraftError], code: str
) -> None:
    assert _code(saved(_bare(**attributes), tmp_path / "a"), kind) == code


def test_an_unknown_transfer_syntax_is_unsupported_not_suspect(tmp_path: Path) -> None:
    dataset = radiograph(_RAMP)
    path = saved(dataset, tmp_path / "a")
    content = path.read_bytes()
    path.write_bytes(content.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.9\0"))
    assert _code(path, Permanent) == "unsupported-transfer-syntax"


def test_a_deflated_bomb_meets_the_memory_limit(tmp_path: Path) -> None:
    path = saved(radiograph(_RAMP), tmp_path / "a")
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = packer.compress(struct.pack("<HH2sHI", 9, 0x10, b"OB", 0, 0x7FFFFFF0)) + packer.flush(
        zlib.Z_FULL_FLUSH
    )
    bomb += (packer.compress(bytes(1_000_000)) + packer.flush(zlib.Z_FULL_FLUSH)) * 1500 + packer.flush()
    uid = b"1.2.840.10008.1.2.1.99"
    meta = struct.pack("<HH2sH", 2, 0x10, b"UI", len(uid)) + uid
    path.write_bytes(bytes(128) + b"DICM" + struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(meta)) + meta + bomb)
    assert _code(path, Quarantine, DecodeLimits(timeout_s=90, memory_bytes=1_000_000_000)) == "decode-memory"


def test_a_file_that_is_not_there_may_come_back(tmp_path: Path) -> None:
    assert _code(tmp_path / "absent", Transient) == "file-unreadable"


def test_the_usual_transfer_syntaxes_can_be_decoded() -> None:
    usual = {
        "1.2.840.10008.1.2",
        "1.2.840.10008.1.2.1",
        "1.2.840.10008.1.2.1.99",
        "1.2.840.10008.1.2.2",
        "1.2.840.10008.1.2.4.50",
        "1.2.840.10008.1.2.4.57",
        "1.2.840.10008.1.2.4.70",
        "1.2.840.10008.1.2.4.80",
        "1.2.840.10008.1.2.4.81",
        "1.2.840.10008.1.2.4.90",
        "1.2.840.10008.1.2.4.91",
        "1.2.840.10008.1.2.5",
    }
    assert usual <= set(decodable_transfer_syntaxes())


def test_a_displayed_image_is_uint8_rows_by_columns() -> None:
    for odd in (np.zeros((2, 2)), np.zeros((2, 2, 3), np.uint8), np.zeros((0, 2), np.uint8)):
        with pytest.raises(ValueError, match="uint8"):
            DisplayedImage(odd)  # type: ignore[arg-type]
