"""What an object is that came again under the same SOP Instance UID with other bytes."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)
from sqlalchemy import text

from dicom_node import PosixSpool
from imaging import DecodeLimits
from service.book import Book, same_uid, study_images
from service.comparing_task import ComparingDesk
from tests.service.arrivals import QUIET, arrive

_IMAGE = "1.2.826.0.1.88888"


@dataclass(frozen=True)
class Desk:
    """A comparing desk with its book and spool."""

    book: Book
    spool: PosixSpool

    def verdict(self, first: bytes, second: bytes) -> tuple[str, str]:
        """(state, reason code) of the second object."""
        for content in (first, second):
            arrive(self.book.engine, self.spool, content, sop_instance_uid=_IMAGE)
        (instance_id,) = same_uid.instances_to_compare(self.book.engine)
        ComparingDesk(self.book.engine, self.spool, DecodeLimits(timeout_s=60), QUIET).compare(instance_id)
        detail = self.book.study("1.9")
        assert detail is not None
        older, newer = detail.instances
        assert older.state == "waiting", "the first one stands"
        assert self.book.account(self.spool, deep=True).balanced
        return newer.state, newer.reason_code


@pytest.fixture
def desk(book: Book, tmp_path: Path) -> Desk:
    return Desk(book, PosixSpool(tmp_path / "spool"))


def radiograph(*, syntax: str = ExplicitVRLittleEndian, brighter: int = 0, **attributes: str) -> bytes:
    """A small radiograph, always of the same image unless `brighter`."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = ComputedRadiographyImageStorage, _IMAGE
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.Modality = "1.9", "1.8", "CR"
    dataset.PatientName = "Doe^Jane"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 24, 32, 1
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PhotometricInterpretation = "MONOCHROME2"
    values = (np.arange(24 * 32, dtype=np.uint16).reshape(24, 32) + brighter).astype("<u2")
    dataset.PixelData = values.tobytes()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    if syntax == RLELossless:
        dataset.compress(RLELossless, generate_instance_uid=False)
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, RLELossless])
def test_the_same_image_in_another_transfer_syntax_is_a_duplicate(desk: Desk, syntax: str) -> None:
    assert desk.verdict(radiograph(), radiograph(syntax=syntax)) == ("duplicate", "same-content")


def test_a_date_the_archive_wrote_does_not_make_another_image(desk: Desk) -> None:
    stamped = radiograph(InstanceCreationDate="20260102", InstanceCreationTime="030405")
    assert desk.verdict(radiograph(), stamped) == ("duplicate", "same-content")


@pytest.mark.parametrize(
    "change",
    [{"PatientName": "Roe^Richard"}, {"PatientID": "77"}, {"ViewPosition": "PA"}, {"ImageLaterality": "L"}],
)
def test_a_changed_header_takes_the_place_of_the_first_and_the_study_is_read_again(
    desk: Desk, change: dict[str, str]
) -> None:
    arrive(desk.book.engine, desk.spool, radiograph(), sop_instance_uid=_IMAGE)
    _end(desk.book)
    corrected = radiograph(**change)
    arrive(desk.book.engine, desk.spool, corrected, sop_instance_uid=_IMAGE)
    (instance_id,) = same_uid.instances_to_compare(desk.book.engine)
    ComparingDesk(desk.book.engine, desk.spool, DecodeLimits(timeout_s=60), QUIET).compare(instance_id)
    detail = desk.book.study("1.9")
    assert detail is not None
    assert [(i.state, i.reason_code) for i in detail.instances] == [
        ("duplicate", "replaced"),
        ("waiting", ""),
    ]
    assert detail.summary.state == "receiving"
    (read,) = study_images.candidates(desk.book.engine, detail.summary.study_row_id)
    assert desk.spool.path(read.spool_key).read_bytes() == corrected
    assert desk.book.account(desk.spool, deep=True).balanced


def _end(book: Book) -> None:
    """The study is done, as far as the book is concerned."""
    with book.engine.begin() as connection:
        connection.execute(text("UPDATE studies SET state = 'done'"))
        connection.execute(text("UPDATE instances SET state = 'analysed'"))


def test_a_second_correction_takes_the_place_of_the_first_correction(desk: Desk) -> None:
    for name in ("Doe^Jane", "Roe^Jane", "Poe^Jane"):
        arrive(desk.book.engine, desk.spool, radiograph(PatientName=name), sop_instance_uid=_IMAGE)
        for instance_id in same_uid.instances_to_compare(desk.book.engine):
            comparing = ComparingDesk(desk.book.engine, desk.spool, DecodeLimits(timeout_s=60), QUIET)
            comparing.compare(instance_id)
    detail = desk.book.study("1.9")
    assert detail is not None
    assert [i.state for i in detail.instances] == ["duplicate", "duplicate", "waiting"]


def test_a_header_changed_while_the_study_is_read_waits_until_it_is_told(desk: Desk) -> None:
    arrive(desk.book.engine, desk.spool, radiograph(), sop_instance_uid=_IMAGE)
    arrive(desk.book.engine, desk.spool, radiograph(PatientID="77"), sop_instance_uid=_IMAGE)
    (instance_id,) = same_uid.instances_to_compare(desk.book.engine)
    comparing = ComparingDesk(desk.book.engine, desk.spool, DecodeLimits(timeout_s=60), QUIET)
    with desk.book.engine.begin() as connection:
        connection.execute(text("UPDATE studies SET state = 'reading'"))
    comparing.compare(instance_id)
    assert same_uid.instances_to_compare(desk.book.engine) == [instance_id]
    _end(desk.book)
    comparing.compare(instance_id)
    assert same_uid.instances_to_compare(desk.book.engine) == []


def test_a_correction_that_names_another_study_is_quarantined(desk: Desk) -> None:
    arrive(desk.book.engine, desk.spool, radiograph(), sop_instance_uid=_IMAGE)
    moved = radiograph(StudyInstanceUID="1.10")
    arrive(desk.book.engine, desk.spool, moved, sop_instance_uid=_IMAGE, study_instance_uid="1.10")
    (instance_id,) = same_uid.instances_to_compare(desk.book.engine)
    ComparingDesk(desk.book.engine, desk.spool, DecodeLimits(timeout_s=60), QUIET).compare(instance_id)
    detail = desk.book.study("1.10")
    assert detail is not None
    assert [(i.state, i.reason_code) for i in detail.instances] == [("quarantined", "changed-study")]


def test_changed_pixels_are_quarantined(desk: Desk) -> None:
    assert desk.verdict(radiograph(), radiograph(brighter=1)) == ("quarantined", "changed-pixels")


def test_what_cannot_be_decoded_cannot_be_compared_and_is_quarantined(desk: Desk) -> None:
    assert desk.verdict(radiograph(), radiograph()[:400]) == ("quarantined", "not-comparable")


def test_an_object_compared_already_is_left_alone(desk: Desk) -> None:
    assert desk.verdict(radiograph(), radiograph(brighter=1))[0] == "quarantined"
    comparing = ComparingDesk(desk.book.engine, desk.spool, DecodeLimits(timeout_s=60), QUIET)
    detail = desk.book.study("1.9")
    assert detail is not None
    for instance in detail.instances:
        comparing.compare(instance.instance_row_id)
    assert desk.book.study("1.9") == detail


def test_a_file_that_is_gone_is_asked_for_again(desk: Desk) -> None:
    key = ""
    for content in (radiograph(), radiograph(brighter=1)):
        key = arrive(desk.book.engine, desk.spool, content, sop_instance_uid=_IMAGE)
    content = desk.spool.path(key).read_bytes()
    desk.spool.delete(key)
    (instance_id,) = same_uid.instances_to_compare(desk.book.engine)
    comparing = ComparingDesk(desk.book.engine, desk.spool, DecodeLimits(timeout_s=60), QUIET)
    comparing.compare(instance_id)
    assert same_uid.instances_to_compare(desk.book.engine) == [instance_id]
    desk.spool.path(key).write_bytes(content)
    comparing.compare(instance_id)
    assert same_uid.instances_to_compare(desk.book.engine) == []
