"""What the listener reads of an object before it believes anything: right, or refused, in bounded time and memory."""

from __future__ import annotations

import resource
import struct
import zlib
from dataclasses import astuple
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
)
from pynetdicom.dsutils import split_dataset

from clinical import Quarantine
from dicom_node.header_walk import Encoding, walk_headers
from dicom_node.identification import Identification, read_identification, valid_uid
from tests.dicom_node.crafted import crafted_dataset, encoded

_SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian)
_PRIVATE_SYNTAX = "1.2.840.113619.5.2"


def expected(dataset: Dataset) -> Identification:
    return Identification(
        str(dataset.get("SOPClassUID", "")),
        str(dataset.get("SOPInstanceUID", "")),
        str(dataset.get("StudyInstanceUID", "")),
        str(dataset.get("SeriesInstanceUID", "")),
        str(dataset.get("Modality", "")),
        str(dataset.get("Manufacturer", "")),
    )


def with_nested_sequences(depth: int, *, undefined: bool) -> Dataset:
    """A data set that holds `depth` nested sequences before its UIDs, each item with misleading UIDs."""
    inner = crafted_dataset(pixels=b"")
    for _ in range(depth):
        outer = crafted_dataset(pixels=b"")
        outer.ReferencedStudySequence = [inner, Dataset()]
        outer["ReferencedStudySequence"].is_undefined_length = undefined
        inner.is_undefined_length_sequence_item = undefined
        inner = outer
    return inner


@pytest.mark.parametrize("syntax", _SYNTAXES)
@pytest.mark.parametrize("undefined", [True, False])
def test_every_encoding_is_read_around_nested_sequences(syntax: str, undefined: bool) -> None:
    dataset = with_nested_sequences(3, undefined=undefined)
    found = read_identification(encoded(dataset, transfer_syntax_uid=syntax), syntax)
    assert found == expected(dataset)


def test_deflated_data_sets_are_read() -> None:
    dataset = crafted_dataset()
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    deflated = deflater.compress(encoded(dataset)) + deflater.flush()
    assert read_identification(deflated, DeflatedExplicitVRLittleEndian) == expected(dataset)


@pytest.mark.parametrize("written_as", _SYNTAXES)
def test_a_private_syntax_is_read_by_what_the_bytes_are(written_as: str) -> None:
    dataset = crafted_dataset()
    content = encoded(dataset, transfer_syntax_uid=written_as)
    assert read_identification(content, _PRIVATE_SYNTAX) == expected(dataset)


def test_a_syntax_that_contradicts_the_bytes_does_no_harm() -> None:
    dataset = crafted_dataset()
    content = encoded(dataset, transfer_syntax_uid=ImplicitVRLittleEndian)
    assert read_identification(content, JPEG2000Lossless) == expected(dataset)


def test_damage_behind_the_identifying_attributes_is_left_for_the_reader_to_name() -> None:
    dataset = crafted_dataset(pixels=b"")
    broken = struct.pack("<HH2sHL", 0x0028, 0x0010, b"SQ", 0, 0xFFFFFFFF) + b"no item here"
    assert read_identification(encoded(dataset) + broken, ExplicitVRLittleEndian) == expected(dataset)


def test_attributes_out_of_order_are_found() -> None:
    dataset = crafted_dataset(pixels=b"")
    late = encoded(dataset)
    early = struct.pack("<HH2sH", 0x0028, 0x0010, b"US", 2) + b"\x01\x00"
    assert read_identification(early + late, ExplicitVRLittleEndian) == expected(dataset)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_real_file_says_the_same_to_us_as_to_a_general_parser(real_files: Path) -> None:
    compared = 0
    for path in sorted(real_files.rglob("*.dcm")):
        try:
            meta, offset = split_dataset(path)
            theirs = expected(dcmread(path, stop_before_pixels=True))
            syntax = str(meta.TransferSyntaxUID)
        except Exception:
            continue  # what a general parser cannot read needs no comparison
        assert read_identification(path.read_bytes()[offset:], syntax) == theirs, path.name
        compared += 1
    assert compared > 40


@settings(deadline=None)
@given(
    st.binary(max_size=400), st.sampled_from([*_SYNTAXES, DeflatedExplicitVRLittleEndian, _PRIVATE_SYNTAX])
)
def test_no_bytes_whatever_raise_anything_but_quarantine(content: bytes, syntax: str) -> None:
    try:
        found = read_identification(content, syntax)
    except Quarantine:
        return
    assert all(isinstance(value, str) for value in astuple(found))


_TAGS = st.sampled_from(
    [(0x0008, 0x0018), (0x0008, 0x1110), (0x0020, 0x000D), (0xFFFE, 0xE000), (0xFFFE, 0xE00D)]
)
_LENGTHS = st.sampled_from([0, 2, 8, 64, 0xFFFF, 0xFFFFFFFE, 0xFFFFFFFF])
_VRS = st.sampled_from([b"UI", b"SQ", b"UN", b"OB", b"LO", b"??", b"\0\0"])


@st.composite
def _headers(draw: st.DrawFn) -> bytes:
    """Element headers that contradict each other, with some of their values."""
    content = b""
    for _ in range(draw(st.integers(1, 30))):
        (group, element), length, vr = draw(_TAGS), draw(_LENGTHS), draw(_VRS)
        content += struct.pack("<HH2sHL", group, element, vr, length & 0xFFFF, length)
        content += draw(st.binary(max_size=12))
    return content


@settings(deadline=None)
@given(_headers(), st.sampled_from(_SYNTAXES))
def test_contradictory_headers_end_in_an_answer_or_quarantine(content: bytes, syntax: str) -> None:
    try:
        read_identification(content, syntax)
    except Quarantine:
        return


@settings(deadline=None)
@given(st.integers(0, 1500), st.integers(0, 255))
def test_a_flipped_byte_never_escapes(position: int, value: int) -> None:
    content = bytearray(encoded(with_nested_sequences(2, undefined=True)))
    content[position % len(content)] = value
    try:
        found = read_identification(bytes(content), ExplicitVRLittleEndian)
    except Quarantine:
        return
    assert all(isinstance(text, str) for text in astuple(found))


@settings(deadline=None)
@given(st.integers(0, 2000))
def test_a_cut_off_data_set_is_an_answer_or_quarantine(length: int) -> None:
    content = encoded(crafted_dataset())[:length]
    try:
        read_identification(content, ExplicitVRLittleEndian)
    except Quarantine:
        return


def peak_memory_bytes() -> int:
    """The most memory this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_millions_of_empty_items_cost_no_memory_and_end() -> None:
    item = struct.pack("<HHL", 0xFFFE, 0xE000, 0)
    bomb = struct.pack("<HH2sHL", 0x0008, 0x1110, b"SQ", 0, 0xFFFFFFFF) + item * 2_000_000
    before_bytes = peak_memory_bytes()
    with pytest.raises(Quarantine, match="header-too-large"):
        read_identification(bomb, ExplicitVRLittleEndian)
    assert peak_memory_bytes() - before_bytes < 32 << 20


def test_nesting_without_end_is_no_recursion() -> None:
    opened = struct.pack("<HH2sHL", 0x0008, 0x1110, b"SQ", 0, 0xFFFFFFFF)
    opened += struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
    assert read_identification(opened * 90_000, ExplicitVRLittleEndian) == Identification()


def test_a_deflate_bomb_is_inflated_to_its_header_only() -> None:
    deflater = zlib.compressobj(level=1, wbits=-zlib.MAX_WBITS)
    header = encoded(crafted_dataset(pixels=b""))
    bomb = deflater.compress(header) + b"".join(deflater.compress(b"\0" * (1 << 20)) for _ in range(128))
    before_bytes = peak_memory_bytes()
    assert read_identification(bomb + deflater.flush(), DeflatedExplicitVRLittleEndian).modality == "CR"
    assert peak_memory_bytes() - before_bytes < 64 << 20


def test_walk_yields_the_top_level_only() -> None:
    content = encoded(with_nested_sequences(2, undefined=True))
    tags = [element.tag for element in walk_headers(content, Encoding(explicit_vr=True, little_endian=True))]
    assert tags == sorted(set(tags))


@pytest.mark.parametrize("uid", ["1", "1.2.840.10008.1.1", "2.25." + "9" * 39, "1.02"])
def test_uids_are_recognised(uid: str) -> None:
    assert valid_uid(uid)


@pytest.mark.parametrize(
    "uid", ["", "1.", ".1", "1..2", "a.b", "../etc/passwd", "1." + "2" * 63, "1.2\n", " 1.2"]
)
def test_what_is_no_uid_is_recognised(uid: str) -> None:
    assert not valid_uid(uid)
