"""Reading headers somebody else wrote."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from clinical import Quarantine, Transient
from imaging import read_header
from tests.imaging.crafted import radiograph, saved

# pydicom warns about the very damage these files were made for.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


def _file(folder: Path, body: bytes, transfer_syntax: bytes = b"1.2.840.10008.1.2.1\0") -> Path:
    meta = struct.pack("<HH2sH", 2, 0x10, b"UI", len(transfer_syntax)) + transfer_syntax
    length = struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(meta))
    path = folder / "crafted"
    path.write_bytes(bytes(128) + b"DICM" + length + meta + body)
    return path


def test_header_comes_without_pixels_and_with_its_transfer_syntax(tmp_path: Path) -> None:
    header = read_header(saved(radiograph(np.zeros((3, 5), np.uint16)), tmp_path / "a"))
    assert "PixelData" not in header
    assert (header.Rows, header.Columns) == (3, 5)
    assert header.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian


def test_a_bare_data_set_is_read_and_its_encoding_named(tmp_path: Path) -> None:
    dataset = radiograph(np.zeros((3, 5), np.uint16))
    del dataset.file_meta
    dataset.save_as(tmp_path / "bare", implicit_vr=True, little_endian=True)
    header = read_header(tmp_path / "bare")
    assert header.Rows == 3
    assert header.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2"


def test_a_damaged_element_does_not_hide_the_others(tmp_path: Path) -> None:
    short = struct.pack("<HH2sH", 0x28, 0x10, b"US", 1) + b"\1"
    modality = struct.pack("<HH2sH", 8, 0x60, b"CS", 2) + b"CR"
    header = read_header(_file(tmp_path, modality + short))
    assert header.Modality == "CR"
    assert "Rows" not in header


@pytest.mark.parametrize(
    "content",
    [b"", b"<!DOCTYPE html><html></html>" * 30, bytes(128) + b"DICM" + b"\xff" * 8, b"\xff" * 4096],
)
def test_what_is_not_dicom_is_quarantined(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "odd").write_bytes(content)
    with pytest.raises(Quarantine) as caught:
        read_header(tmp_path / "odd")
    assert caught.value.code == "unreadable-header"


def test_a_missing_file_may_come_back(tmp_path: Path) -> None:
    with pytest.raises(Transient) as caught:
        read_header(tmp_path / "absent")
    assert caught.value.code == "file-unreadable"


def _tiny_elements() -> bytes:
    return b"".join(struct.pack("<HH2sH", 9 + 2 * (i >> 16), i & 0xFFFF, b"LO", 0) for i in range(400_000))


def _tiny_items() -> bytes:
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 8) + struct.pack("<HH2sH", 8, 0x16, b"UI", 0)
    return struct.pack("<HH2sHI", 8, 0x1115, b"SQ", 0, len(item) * 400_000) + item * 400_000


def _deep_nesting() -> bytes:
    opened = struct.pack("<HH2sHI", 8, 0x1115, b"SQ", 0, 0xFFFFFFFF)
    return (opened + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)) * 50_000


def _four_gigabytes_stated() -> bytes:
    return struct.pack("<HH2sHI", 9, 0x10, b"OB", 0, 0xFFFFFFF0) + bytes(100)


@pytest.mark.parametrize("body", [_tiny_elements, _tiny_items, _deep_nesting, _four_gigabytes_stated])
def test_headers_that_ask_for_unreasonable_work_are_quarantined(tmp_path: Path, body: object) -> None:
    assert callable(body)
    with pytest.raises(Quarantine):
        read_header(_file(tmp_path, body()))


def test_a_deflated_bomb_is_not_inflated(tmp_path: Path) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = packer.compress(struct.pack("<HH2sHI", 9, 0x10, b"OB", 0, 0x7FFFFFF0)) + packer.flush(
        zlib.Z_FULL_FLUSH
    )
    bomb += (packer.compress(bytes(1_000_000)) + packer.flush(zlib.Z_FULL_FLUSH)) * 300 + packer.flush()
    with pytest.raises(Quarantine):
        read_header(_file(tmp_path, bomb, b"1.2.840.10008.1.2.1.99"))


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_gives_a_usable_header_or_quarantine(tmp_path: Path, data: st.DataObject) -> None:
    whole = saved(
        radiograph(
            np.zeros((2, 2), np.uint8), StudyDescription="CHEST", WindowCenter=[1, 2], WindowWidth=[3, 4]
        ),
        tmp_path / "whole",
    ).read_bytes()
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(132, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged"
    path.write_bytes(damaged[: data.draw(st.integers(132, len(whole)))])
    try:
        header = read_header(path)
    except Quarantine:
        return
    assert "PixelData" not in header
    assert all(element.VR for element in header.iterall())


def test_every_real_file_gives_a_header_or_quarantine(real_files: Path) -> None:
    files = [path for path in real_files.rglob("*") if path.is_file() and path.suffix in ("", ".dcm")]
    assert files
    for path in files:
        try:
            assert isinstance(read_header(path), Dataset)
        except Quarantine as refused:
            assert refused.code == "unreadable-header"


def test_real_headers_lose_nothing_they_can_say(real_files: Path) -> None:
    for path in (real_files / "cxr").rglob("*.dcm"):
        whole = dcmread(path, stop_before_pixels=True, force=True)
        assert set(read_header(path).keys()) == set(whole.keys())
