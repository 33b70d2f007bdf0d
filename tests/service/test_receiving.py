"""The listener on the real account book: what peers of other makers and real archives send is accounted for."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from clinical import Permanent
from dicom_node import Listener, ListenerSettings, Peer, PosixSpool, echo, send_objects
from service.book import Book, open_book
from service.intake import BookLedger
from tests.dicom_node.crafted import as_file, crafted_dataset
from tests.service.arrivals import QUIET

Program = Callable[[str], Path]


@dataclass(frozen=True)
class Station:
    """A listener that writes into the account book."""

    peer: Peer
    book: Book
    spool: PosixSpool

    def send(self, content: bytes | Path) -> int | None:
        (result,) = send_objects([content], self.peer, calling_ae_title="MODALITY")
        return result.status

    def states(self) -> dict[str, int]:
        """Objects by state, those there are."""
        account = self.book.account(self.spool, deep=True)
        assert account.balanced, account.problems
        return {state: count for state, count in account.states.items() if count}


@pytest.fixture
def station(tmp_path: Path, empty_book: Path) -> Iterator[Station]:
    book = open_book(f"sqlite:///{shutil.copy(empty_book, tmp_path / 'book.sqlite')}")
    spool = PosixSpool(tmp_path / "spool")
    listener = Listener(ListenerSettings(port=0, drain_s=1.0), spool, BookLedger(book.engine, QUIET))
    listener.start()
    yield Station(Peer("RADDRAFT", "127.0.0.1", listener.port), book, spool)
    listener.stop()
    book.engine.dispose()


def test_resend_is_receipted_and_changed_bytes_wait_to_be_compared(station: Station) -> None:
    dataset = crafted_dataset()
    content = as_file(dataset)
    assert [station.send(content) for _ in range(2)] == [0x0000] * 2
    assert station.states() == {"waiting": 1}
    dataset.PatientName = "Roe^Richard"
    assert station.send(as_file(dataset)) == 0x0000
    assert station.states() == {"waiting": 1, "received": 1}
    assert station.book.account().acknowledged == 3


def test_eight_senders_of_the_same_objects_leave_one_row_each(station: Station) -> None:
    contents = [as_file(crafted_dataset()) for _ in range(3)]
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(station.send, contents * 8))
    assert statuses == [0x0000] * 24
    assert station.states() == {"waiting": 3}
    assert station.book.account().acknowledged == 24


def test_own_results_are_ignored_and_say_why(station: Station) -> None:
    dataset = crafted_dataset(Manufacturer="RadDraft")
    assert station.send(as_file(dataset)) == 0x0000
    assert station.states() == {"ignored": 1}
    detail = station.book.study(str(dataset.StudyInstanceUID))
    assert detail is not None and detail.instances[0].reason_code == "own-result"


def test_a_lost_book_refuses_and_leaves_no_file(station: Station, tmp_path: Path) -> None:
    for part in tmp_path.glob("book.sqlite*"):
        part.unlink()
    station.book.engine.dispose()
    assert station.send(as_file(crafted_dataset())) == 0xA700
    assert list(station.spool.keys()) == []


@pytest.mark.parametrize("folder", ["cxr", "not_cxr", "fuzz"])
def test_every_real_and_broken_file_is_answered_and_accounted_for(
    station: Station, real_files: Path, folder: str
) -> None:
    acknowledged = 0
    for path in sorted(p for p in (real_files / folder).rglob("*") if p.is_file()):
        try:
            acknowledged += station.send(path) == 0x0000
        except Permanent:
            continue  # not a DICOM file to our own sender; raw bytes are sent by the tests of the node
    assert echo(station.peer, calling_ae_title="MODALITY") == 0x0000
    states = station.states()
    assert station.book.account().acknowledged == acknowledged > 0
    if folder == "cxr":
        assert states.get("waiting", 0) > 0


def dcmtk(tool: Path, station: Station, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(tool), "-aec", "RADDRAFT", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def address(station: Station) -> tuple[str, str]:
    return station.peer.host, str(station.peer.port)


@pytest.mark.interop
def test_echoscu_is_answered(station: Station, program: Program) -> None:
    assert dcmtk(program("echoscu"), station, *address(station)).returncode == 0


@pytest.mark.interop
@pytest.mark.parametrize("tool", ["storescu", "dcmsend"])
def test_dcmtk_senders_are_acknowledged(
    station: Station, program: Program, tmp_path: Path, tool: str
) -> None:
    for number in range(5):
        (tmp_path / f"{number}.dcm").write_bytes(as_file(crafted_dataset()))
    files = sorted(str(path) for path in tmp_path.glob("*.dcm"))
    done = dcmtk(program(tool), station, *address(station), *files)
    assert done.returncode == 0, done.stderr
    assert station.states() == {"waiting": 5}


@pytest.mark.interop
@pytest.mark.parametrize(("encoder", "proposal"), [("dcmcjpeg", "-xs"), ("dcmcrle", "-xr")])
def test_compressed_objects_are_stored_as_sent(
    station: Station, program: Program, tmp_path: Path, encoder: str, proposal: str
) -> None:
    dataset = crafted_dataset()
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, 0
    plain, compressed = tmp_path / "plain.dcm", tmp_path / "compressed.dcm"
    plain.write_bytes(as_file(dataset))
    subprocess.run([str(program(encoder)), str(plain), str(compressed)], check=True, timeout=60)
    done = dcmtk(program("storescu"), station, proposal, *address(station), str(compressed))
    assert done.returncode == 0, done.stderr
    (key,) = station.spool.keys()
    fragment = compressed.read_bytes()[-64:]
    assert fragment in station.spool.path(key).read_bytes()
    assert station.states() == {"waiting": 1}
