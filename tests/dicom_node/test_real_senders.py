"""Every real file, sent by programs of another maker and by our own sender: accounted for byte for byte, or refused."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from pydicom import dcmread
from pynetdicom.dsutils import split_dataset

from clinical import Permanent
from dicom_node import send_objects
from tests.dicom_node.conftest import Node
from tests.dicom_node.crafted import as_file, crafted_dataset, dataset_part

_FOLDERS = ("cxr", "not_cxr", "fuzz")


def all_files(real_files: Path) -> list[Path]:
    return [path for name in _FOLDERS for path in sorted((real_files / name).rglob("*")) if path.is_file()]


def digest_of_dataset(path: Path) -> str:
    _, offset = split_dataset(path)
    return hashlib.sha256(path.read_bytes()[offset:]).hexdigest()


def assert_balanced(node: Node) -> None:
    """Every object has its file with its bytes, and every file has its object."""
    objects = node.ledger.objects()
    assert all(node.spool.verify(key, sha256) for _, key, sha256, _ in objects)
    assert sorted(node.spool.keys()) == sorted(key for _, key, _, _ in objects)
    assert len(node.files()) == len(objects)


def assert_alive(node: Node) -> None:
    (result,) = send_objects([as_file(crafted_dataset())], node.peer, calling_ae_title="MODALITY")
    assert result.status == 0x0000


def stored_digests(node: Node) -> set[str]:
    return {hashlib.sha256(dataset_part(path.read_bytes())).hexdigest() for path in node.files()}


def pixels_by_uid(paths: Sequence[Path]) -> set[tuple[str, str]]:
    datasets = [dcmread(path) for path in paths]
    return {(str(each.SOPInstanceUID), hashlib.sha256(each.PixelData).hexdigest()) for each in datasets}


def test_every_real_file_from_our_sender_is_accounted_byte_for_byte_or_refused(
    node: Node, real_files: Path
) -> None:
    sent: dict[str, Path] = {}
    refused: list[Path] = []
    for path in all_files(real_files):
        try:
            (result,) = send_objects([path], node.peer, calling_ae_title="MODALITY")
        except Permanent:
            refused.append(path)
            continue
        if result.outcome == "stored":
            sent[digest_of_dataset(path)] = path
        else:
            assert result.status in (0xC000, 0xA900), (path, result)
            refused.append(path)
    assert {path.parent.name for path in refused} <= {"fuzz", "not_cxr", "cxr"}
    assert len(sent) > 40
    assert stored_digests(node) == set(sent)
    assert_balanced(node)
    assert_alive(node)


@pytest.mark.interop
def test_dcmsend_delivers_every_chest_radiograph(
    node: Node, program: Callable[[str], Path], real_files: Path
) -> None:
    files = [path for path in (real_files / "cxr").rglob("*.dcm") if path.read_bytes()[128:132] == b"DICM"]
    run_sender([program("dcmsend"), "--no-halt", "--decompress-never"], node, files, statuses={0})
    # dcmsend drops group lengths and the like, so pixels are compared, not bytes.
    assert pixels_by_uid(node.files()) == pixels_by_uid(files)
    assert {row[3] for row in node.ledger.objects()} == {""}
    assert_balanced(node)


@pytest.mark.interop
@pytest.mark.parametrize("folder", ["not_cxr", "fuzz"])
def test_what_dcmsend_makes_of_strange_files_leaves_a_balance_and_a_living_listener(
    node: Node, program: Callable[[str], Path], real_files: Path, folder: str
) -> None:
    files = [path for path in sorted((real_files / folder).rglob("*")) if path.is_file()]
    for path in files:
        run_sender([program("dcmsend"), "--no-halt", "--no-uid-checks"], node, [path])
    assert len(node.ledger.objects()) > len(files) // 2
    assert_balanced(node)
    assert_alive(node)


@pytest.mark.interop
def test_storescu_gets_success_and_a_resend_does_no_work(
    node: Node, program: Callable[[str], Path], tmp_path: Path
) -> None:
    content = as_file(crafted_dataset(pixels=b"\7" * 300_000))
    path = tmp_path / "object.dcm"
    path.write_bytes(content)
    for _ in range(2):
        run_sender([program("storescu")], node, [path], statuses={0})
    assert stored_digests(node) == {hashlib.sha256(dataset_part(content)).hexdigest()}
    assert node.ledger.receipts() == 2


def run_sender(
    command: Sequence[str | Path], node: Node, files: Sequence[Path], statuses: set[int] | None = None
) -> None:
    address: list[str | Path] = ["-aec", "RADDRAFT", "127.0.0.1", str(node.listener.port)]
    finished = subprocess.run(
        [*command, *address, *files], capture_output=True, text=True, timeout=120, check=False
    )
    assert statuses is None or finished.returncode in statuses, finished.stderr
