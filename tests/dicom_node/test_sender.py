"""The sender: every object on its own context, sent as it is stored, with an outcome of its own."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from pydicom import dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    Comprehensive3DSRStorage,
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    GrayscaleSoftcopyPresentationStateStorage,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    SecondaryCaptureImageStorage,
    generate_uid,
)
from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from clinical import Permanent, Transient
from dicom_node import Peer, SendTimeouts, echo, send_objects
from tests.dicom_node.conftest import Node
from tests.dicom_node.crafted import as_file, crafted_dataset, dataset_part

_TIMEOUTS = SendTimeouts(connection_s=5.0, acse_s=5.0, dimse_s=5.0)


@contextmanager
def scp(
    contexts: Sequence[tuple[str, Sequence[str]]], store: Callable[[evt.Event], int] = lambda event: 0x0000
) -> Iterator[Peer]:
    """A PACS that takes these (SOP class, transfer syntaxes) and answers what `store` says."""
    ae = AE(ae_title="PACS")
    for sop_class, syntaxes in contexts:
        ae.add_supported_context(sop_class, list(syntaxes))
    ae.add_supported_context(Verification)
    handlers: list[Any] = [(evt.EVT_C_STORE, store)]
    server = cast(Any, ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers))
    try:
        yield Peer("PACS", "127.0.0.1", server.server_address[1])
    finally:
        ae.shutdown()


def test_files_contents_and_data_sets_arrive_as_they_are(node: Node, tmp_path: Path) -> None:
    path = tmp_path / "object.dcm"
    path.write_bytes(as_file(crafted_dataset()))
    content = as_file(crafted_dataset())
    dataset = crafted_dataset()
    as_file(dataset)
    results = send_objects([path, content, dataset], node.peer, calling_ae_title="MODALITY")
    assert [result.outcome for result in results] == ["stored"] * 3
    stored = {dataset_part(file.read_bytes()) for file in node.files()}
    assert stored == {dataset_part(each) for each in (path.read_bytes(), content, as_file(dataset))}


def test_results_come_in_the_order_of_the_objects(node: Node) -> None:
    datasets = [crafted_dataset() for _ in range(5)]
    results = send_objects([as_file(each) for each in datasets], node.peer, calling_ae_title="MODALITY")
    assert [result.sop_instance_uid for result in results] == [each.SOPInstanceUID for each in datasets]


def test_one_refused_class_does_not_hold_up_the_others() -> None:
    classes = (
        Comprehensive3DSRStorage,
        GrayscaleSoftcopyPresentationStateStorage,
        SecondaryCaptureImageStorage,
    )
    contents = [as_file(crafted_dataset(sop_class_uid=each)) for each in classes]
    with scp([(each, [ExplicitVRLittleEndian]) for each in classes[1:]]) as peer:
        results = send_objects(contents, peer, calling_ae_title="RADDRAFT")
    assert [result.outcome for result in results] == ["not-negotiated", "stored", "stored"]
    assert results[0].status is None


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (0x0000, "stored"),
        (0xB000, "warning"),
        (0xB006, "warning"),
        (0xB007, "warning"),
        (0xA700, "failed"),
        (0xA900, "failed"),
        (0xC123, "failed"),
        (0x0122, "failed"),
        (0x0124, "failed"),
    ],
)
def test_every_status_has_its_outcome_and_meaning(status: int, outcome: str) -> None:
    with scp([(ComputedRadiographyImageStorage, [ExplicitVRLittleEndian])], lambda event: status) as peer:
        (result,) = send_objects([as_file(crafted_dataset())], peer, calling_ae_title="RADDRAFT")
    assert (result.status, result.outcome) == (status, outcome)
    assert result.detail


def test_a_peer_of_the_other_uncompressed_syntax_gets_it_encoded_anew() -> None:
    received: list[tuple[str, bytes]] = []

    def store(event: evt.Event) -> int:
        received.append((str(event.context.transfer_syntax), event.encoded_dataset()))
        return 0x0000

    dataset = crafted_dataset(pixels=bytes(range(256)) * 2)
    with scp([(ComputedRadiographyImageStorage, [ImplicitVRLittleEndian])], store) as peer:
        (result,) = send_objects([as_file(dataset)], peer, calling_ae_title="RADDRAFT")
    assert result.outcome == "stored"
    ((syntax, _),) = received
    assert syntax == ImplicitVRLittleEndian


def test_a_compressed_object_needs_its_own_syntax_and_is_sent_as_it_is(node: Node) -> None:
    dataset = crafted_dataset(pixels=b"")
    dataset.add_new("PixelData", "OB", b"\xfe\xff\x00\xe0\0\0\0\0\xfe\xff\x00\xe0\4\0\0\0\xffO\xffQ")
    dataset["PixelData"].is_undefined_length = True
    content = as_file(dataset, transfer_syntax_uid=JPEG2000Lossless)
    (result,) = send_objects([content], node.peer, calling_ae_title="MODALITY")
    assert result.outcome == "stored"
    (stored,) = node.files()
    assert dataset_part(stored.read_bytes()) == dataset_part(content)
    with scp([(ComputedRadiographyImageStorage, [ExplicitVRLittleEndian])]) as peer:
        (refused,) = send_objects([content], peer, calling_ae_title="RADDRAFT")
    assert refused.outcome == "not-negotiated"


def test_more_classes_than_one_association_holds_are_all_sent(node: Node) -> None:
    contents = [as_file(crafted_dataset(sop_class_uid=f"1.2.3.4.{number}")) for number in range(140)]
    results = send_objects(contents, node.peer, calling_ae_title="MODALITY")
    assert {result.outcome for result in results} == {"stored"}
    assert len(node.ledger.objects()) == 140


def test_file_meta_that_contradicts_its_data_set_is_put_right(node: Node, tmp_path: Path) -> None:
    dataset = crafted_dataset()
    content = as_file(dataset)
    dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    other = generate_uid()[: len(dataset.SOPInstanceUID)].ljust(len(dataset.SOPInstanceUID), "1")
    contradicting = content.replace(str(dataset.SOPInstanceUID).encode(), other.encode(), 1)
    (result,) = send_objects([contradicting], node.peer, calling_ae_title="MODALITY")
    assert (result.outcome, result.sop_instance_uid) == ("stored", dataset.SOPInstanceUID)


@pytest.mark.parametrize("content", [b"", b"not dicom", b"\0" * 128 + b"DICM"])
def test_what_is_no_dicom_file_is_refused_before_anything_is_sent(node: Node, content: bytes) -> None:
    with pytest.raises(Permanent, match="not-dicom"):
        send_objects([as_file(crafted_dataset()), content], node.peer, calling_ae_title="MODALITY")
    assert node.nothing_left()


def test_a_peer_that_is_away_is_transient() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        peer = Peer("PACS", "127.0.0.1", unused.getsockname()[1])
        for call in (
            lambda: send_objects(
                [as_file(crafted_dataset())], peer, calling_ae_title="US", timeouts=_TIMEOUTS
            ),
            lambda: echo(peer, calling_ae_title="US", timeouts=_TIMEOUTS),
        ):
            with pytest.raises(Transient, match="peer-unreachable"):
                call()


def test_a_host_name_without_an_address_is_transient() -> None:
    with pytest.raises(Transient, match="peer-unreachable"):
        echo(Peer("PACS", "no-such-host.invalid", 104), calling_ae_title="US", timeouts=_TIMEOUTS)


def test_a_peer_that_closes_in_the_middle_is_no_response() -> None:
    def hang_up(event: evt.Event) -> int:
        event.assoc.abort()
        return 0x0000

    contents = [as_file(crafted_dataset()) for _ in range(2)]
    with scp([(ComputedRadiographyImageStorage, [ExplicitVRLittleEndian])], hang_up) as peer:
        results = send_objects(contents, peer, calling_ae_title="RADDRAFT", timeouts=_TIMEOUTS)
    assert [(result.outcome, result.status) for result in results] == [("no-response", None)] * 2


def test_a_peer_that_never_answers_is_no_response() -> None:
    def sleep(event: evt.Event) -> int:
        time.sleep(3)
        return 0x0000

    patience = SendTimeouts(connection_s=5.0, acse_s=5.0, dimse_s=0.5)
    with scp([(ComputedRadiographyImageStorage, [ExplicitVRLittleEndian])], sleep) as peer:
        (result,) = send_objects(
            [as_file(crafted_dataset())], peer, calling_ae_title="RADDRAFT", timeouts=patience
        )
    assert (result.outcome, result.status) == ("no-response", None)


@pytest.mark.interop
def test_storescp_stores_what_we_send(program: Callable[[str], Path], tmp_path: Path) -> None:
    folder = tmp_path / "received"
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = [str(program("storescp")), "--fork", "+B", "-aet", "PACS", "-od", str(folder), str(port)]
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        try:
            peer = Peer("PACS", "127.0.0.1", port)
            wait_for(peer)
            datasets = [
                crafted_dataset(sop_class_uid=DigitalXRayImageStorageForPresentation),
                crafted_dataset(sop_class_uid=SecondaryCaptureImageStorage),
            ]
            contents = [as_file(dataset) for dataset in datasets]
            results = send_objects(contents, peer, calling_ae_title="RADDRAFT", timeouts=_TIMEOUTS)
        finally:
            running.terminate()
    assert [result.outcome for result in results] == ["stored"] * 2
    stored = {str(dcmread(path).SOPInstanceUID): path.read_bytes() for path in folder.iterdir()}
    assert set(stored) == {str(dataset.SOPInstanceUID) for dataset in datasets}
    for dataset, content in zip(datasets, contents, strict=True):
        # storescp +B writes the bytes as they came.
        assert stored[str(dataset.SOPInstanceUID)].endswith(dataset_part(content))


def wait_for(peer: Peer) -> None:
    """Until the peer answers a C-ECHO."""
    for _ in range(200):
        try:
            echo(peer, calling_ae_title="RADDRAFT", timeouts=_TIMEOUTS)
            return
        except Transient:
            time.sleep(0.05)
    raise AssertionError("the peer did not come up")


def test_an_object_without_transfer_syntax_is_refused(node: Node) -> None:
    dataset = crafted_dataset()
    dataset.file_meta = FileMetaDataset()
    with pytest.raises(Permanent, match="not-dicom"):
        send_objects([dataset], node.peer, calling_ae_title="MODALITY")
