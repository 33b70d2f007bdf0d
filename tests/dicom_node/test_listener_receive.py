"""The durable receive: acknowledged is on disk and in the book; refused is nowhere."""

from __future__ import annotations

import hashlib
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    CTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    generate_uid,
)
from pynetdicom.presentation import AllStoragePresentationContexts

from clinical import Permanent, Quarantine, Transient
from dicom_node import KnownObject, PosixSpool, ReceivedObject, SpoolWriter, send_objects
from tests.dicom_node.conftest import Node, StartNode
from tests.dicom_node.crafted import as_file, crafted_dataset, dataset_part, encoded
from tests.dicom_node.raw_scu import associated, store_raw
from tests.dicom_node.sqlite_ledger import SqliteLedger

_JPEG_XL = "1.2.840.10008.1.2.4.110"
_PRIVATE_SYNTAX = "1.2.840.113619.5.2"
_PRIVATE_CLASS = "1.3.12.2.1107.5.9.1"
_CR = ComputedRadiographyImageStorage


def send_one(node: Node, content: bytes) -> int | None:
    (result,) = send_objects([content], node.peer, calling_ae_title="MODALITY")
    return result.status


def test_an_acknowledged_object_is_on_disk_byte_for_byte(node: Node) -> None:
    content = as_file(crafted_dataset())
    assert send_one(node, content) == 0x0000
    ((uid, key, digest, ignored),) = node.ledger.objects()
    stored = node.spool.path(key).read_bytes()
    assert dataset_part(stored) == dataset_part(content)
    assert hashlib.sha256(stored).hexdigest() == digest
    assert uid.encode() in stored and ignored == ""
    assert node.ledger.receipts() == 1


def test_what_is_not_ours_to_read_is_acknowledged_and_says_why(node: Node) -> None:
    assert send_one(node, as_file(crafted_dataset(sop_class_uid=CTImageStorage, Modality="CT"))) == 0x0000
    assert send_one(node, as_file(crafted_dataset(Manufacturer="RadDraft"))) == 0x0000
    assert sorted(row[3] for row in node.ledger.objects()) == ["not-an-image", "own-result"]


def test_resend_of_same_bytes_does_no_work(node: Node) -> None:
    content = as_file(crafted_dataset())
    assert send_one(node, content) == 0x0000
    (before,) = node.files()
    changed_at_ns = before.stat().st_mtime_ns
    assert send_one(node, content) == 0x0000
    assert node.files() == [before] and before.stat().st_mtime_ns == changed_at_ns
    assert len(node.ledger.objects()) == 1 and node.ledger.receipts() == 2


def test_same_uid_with_other_bytes_is_kept_beside(node: Node) -> None:
    dataset = crafted_dataset()
    assert send_one(node, as_file(dataset)) == 0x0000
    dataset.PatientName = "Roe^Richard"
    assert send_one(node, as_file(dataset)) == 0x0000
    assert len(node.files()) == len(node.ledger.objects()) == 2


def test_two_associations_with_the_same_object_leave_one_file(node: Node) -> None:
    content = as_file(crafted_dataset(pixels=b"\1" * 200_000))
    with ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(lambda _: send_one(node, content), range(8)))
    assert statuses == [0x0000] * 8
    assert len(node.files()) == len(node.ledger.objects()) == 1
    assert node.ledger.receipts() == 8


def test_eight_associations_at_once_are_all_accounted_for(node: Node) -> None:
    contents = [as_file(crafted_dataset(pixels=bytes([n]) * 100_000)) for n in range(24)]
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda content: send_one(node, content), contents))
    assert statuses == [0x0000] * 24
    stored = {hashlib.sha256(dataset_part(path.read_bytes())).digest() for path in node.files()}
    assert stored == {hashlib.sha256(dataset_part(content)).digest() for content in contents}
    assert node.ledger.receipts() == 24


def test_more_associations_than_allowed_are_refused_for_now(start_node: StartNode) -> None:
    node = start_node(maximum_associations=1)
    with associated(node.peer, [(_CR, [ExplicitVRLittleEndian])]) as first:
        assert first.is_established
        with pytest.raises(Transient, match="local limit exceeded"):
            send_one(node, as_file(crafted_dataset()))
    assert node.nothing_left()


class FailingLedger(SqliteLedger):
    """A ledger that fails at one of its calls."""

    def __init__(self, path: Path, error: BaseException, *, call: str) -> None:
        super().__init__(path)
        self._error = error
        self._call = call

    def known(self, sop_instance_uid: str) -> list[KnownObject]:
        if self._call == "known":
            raise self._error
        return super().known(sop_instance_uid)

    def commit(self, received: ReceivedObject) -> str:
        if self._call == "commit":
            raise self._error
        return super().commit(received)


@pytest.mark.parametrize("call", ["known", "commit"])
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Transient("book-unavailable", ""), 0xA700),
        (Permanent("book-refuses", ""), 0xC001),
        (Quarantine("suspect", ""), 0xC000),
        (sqlite3.OperationalError("disk I/O error"), 0xA700),
    ],
)
def test_a_failing_ledger_is_a_failure_status_and_leaves_nothing(
    start_node: StartNode, tmp_path: Path, call: str, error: BaseException, status: int
) -> None:
    node = start_node(ledger=FailingLedger(tmp_path / "ledger.sqlite", error, call=call))
    assert send_one(node, as_file(crafted_dataset())) == status
    assert node.nothing_left()


class LyingLedger(SqliteLedger):
    """A ledger whose commit is done, but whose answer is lost."""

    def commit(self, received: ReceivedObject) -> str:
        super().commit(received)
        raise Transient("book-unavailable", "the connection broke during the commit")


def test_a_commit_whose_answer_was_lost_keeps_the_file_for_the_resend(
    start_node: StartNode, tmp_path: Path
) -> None:
    node = start_node(ledger=LyingLedger(tmp_path / "ledger.sqlite"))
    content = as_file(crafted_dataset())
    assert send_one(node, content) == 0xA700
    ((_, key, digest, _),) = node.ledger.objects()
    assert node.spool.verify(key, digest)


def test_a_held_object_whose_file_is_gone_is_not_acknowledged(node: Node) -> None:
    content = as_file(crafted_dataset())
    assert send_one(node, content) == 0x0000
    node.files()[0].unlink()
    assert send_one(node, content) == 0xA700


class FailingSpool(PosixSpool):
    """A spool without space."""

    def begin(self) -> SpoolWriter:
        raise Transient("spool-full", "no space")


def test_a_full_spool_is_out_of_resources_and_leaves_nothing(start_node: StartNode, tmp_path: Path) -> None:
    node = start_node(spool=FailingSpool(tmp_path / "full"))
    assert send_one(node, as_file(crafted_dataset())) == 0xA700
    assert node.nothing_left()


def test_a_missing_or_malformed_uid_cannot_be_understood(node: Node) -> None:
    with associated(node.peer, [(_CR, [ExplicitVRLittleEndian])]) as association:
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID"):
            for value in (None, "", "../../etc/passwd"):
                dataset = crafted_dataset()
                del dataset[keyword]
                if value is not None:
                    dataset.add_new(keyword, "LO", value)
                uid = str(dataset.SOPInstanceUID)
                status = store_raw(association, encoded(dataset), sop_class_uid=_CR, sop_instance_uid=uid)
                assert status == 0xC000, (keyword, value)
    assert node.nothing_left()


def test_uids_that_differ_from_the_request_are_refused(node: Node) -> None:
    dataset = crafted_dataset()
    content, uid = encoded(dataset), str(dataset.SOPInstanceUID)
    contexts = [(_CR, [ExplicitVRLittleEndian]), (CTImageStorage, [ExplicitVRLittleEndian])]
    with associated(node.peer, contexts) as association:
        other_class = store_raw(association, content, sop_class_uid=CTImageStorage, sop_instance_uid=uid)
        other_uid = store_raw(association, content, sop_class_uid=_CR, sop_instance_uid=generate_uid())
        right = store_raw(association, content, sop_class_uid=_CR, sop_instance_uid=uid)
    assert (other_class, other_uid, right) == (0xA900, 0xC000, 0x0000)
    assert len(node.files()) == len(node.ledger.objects()) == 1


def test_garbage_cannot_be_understood_and_the_association_goes_on(node: Node) -> None:
    dataset = crafted_dataset()
    uid = str(dataset.SOPInstanceUID)
    with associated(node.peer, [(_CR, [ExplicitVRLittleEndian])]) as association:
        for garbage in (b"\0" * 64, b"<html>not dicom at all</html>" * 20, b"\xff" * 1000):
            status = store_raw(association, garbage, sop_class_uid=_CR, sop_instance_uid=uid)
            assert status in (0xC000, 0xA900), garbage[:10]
        assert node.nothing_left()
        assert store_raw(association, encoded(dataset), sop_class_uid=_CR, sop_instance_uid=uid) == 0x0000
    assert len(node.files()) == 1


def test_an_object_over_the_limit_is_refused_with_a_status(start_node: StartNode) -> None:
    node = start_node(maximum_object_bytes=100_000)
    assert send_one(node, as_file(crafted_dataset(pixels=b"\0" * 200_000))) == 0xC001
    assert send_one(node, as_file(crafted_dataset())) == 0x0000
    assert len(node.files()) == 1


def test_every_storage_class_of_the_library_is_accepted(node: Node) -> None:
    classes = [str(context.abstract_syntax) for context in AllStoragePresentationContexts]
    assert len(classes) > 128
    for start in range(0, len(classes), 128):
        group = classes[start : start + 128]
        with associated(node.peer, [(uid, [ExplicitVRLittleEndian]) for uid in group]) as association:
            assert {str(context.abstract_syntax) for context in association.accepted_contexts} == set(group)


def test_classes_nobody_reads_are_stored_and_ignored(node: Node) -> None:
    newer_than_our_tables = "1.2.840.10008.5.1.4.1.1.999999"
    stored_print_retired = "1.2.840.10008.5.1.1.27"
    hanging_protocol_of_no_study = "1.2.840.10008.5.1.4.38.1"
    for uid in (_PRIVATE_CLASS, newer_than_our_tables, stored_print_retired, hanging_protocol_of_no_study):
        assert send_one(node, as_file(crafted_dataset(sop_class_uid=uid))) == 0x0000, uid
    assert [row[3] for row in node.ledger.objects()] == ["not-an-image"] * 4


def test_every_transfer_syntax_is_stored_as_sent(node: Node) -> None:
    native = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian)
    for syntax in (*native, HTJ2KLossless, _JPEG_XL, _PRIVATE_SYNTAX):
        dataset = crafted_dataset()
        uid = str(dataset.SOPInstanceUID)
        content = encoded(dataset, transfer_syntax_uid=syntax if syntax in native else ExplicitVRLittleEndian)
        with associated(node.peer, [(_CR, [syntax])]) as association:
            status = store_raw(
                association, content, sop_class_uid=_CR, sop_instance_uid=uid, transfer_syntax_uid=syntax
            )
        assert status == 0x0000, syntax
        (stored,) = [path.read_bytes() for path in node.files() if uid.encode() in path.read_bytes()]
        assert dataset_part(stored) == content
        assert syntax.encode() in stored[:600]


def test_of_several_syntaxes_in_one_context_the_first_that_loses_nothing_is_taken(node: Node) -> None:
    offered = [_PRIVATE_SYNTAX, "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.70", ImplicitVRLittleEndian]
    with associated(node.peer, [(_CR, offered)]) as association:
        (context,) = association.accepted_contexts
    assert context.transfer_syntax == ["1.2.840.10008.1.2.4.70"]


def test_services_we_do_not_offer_are_not_accepted_as_storage(node: Node) -> None:
    study_root_find = "1.2.840.10008.5.1.4.1.2.2.1"
    with associated(node.peer, [(study_root_find, [ExplicitVRLittleEndian])]) as association:
        assert [context.abstract_syntax for context in association.rejected_contexts] == [study_root_find]


def test_nothing_of_the_patient_is_logged(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    dataset = crafted_dataset(PatientName="Secret^Name")
    assert send_one(node, as_file(dataset)) == 0x0000
    dataset.StudyInstanceUID = "not-a-uid-77"
    assert send_one(node, as_file(dataset)) == 0xC000
    assert "invalid-uid" in caplog.text
    for word in ("Secret", str(dataset.SOPInstanceUID), "not-a-uid", "77"):
        assert word not in caplog.text
