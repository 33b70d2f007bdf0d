"""The PACS refuses, hangs, is full, closes in mid-object, loses what it took: afterwards it has everything, once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

import pytest

from dicom_node import Listener, ListenerSettings, Peer, SendTimeouts
from service.book import outbox
from service.book.circuits import CircuitRule
from service.book.database import reading, writing
from service.book.leases import LeaseKeeper
from service.book.tables import ArtefactRow, CustodyRow, DeliveryRow
from service.clock import now_utc
from service.commitment import BookDesk, CommitmentClerk
from service.correspondents import archives, requestor
from service.delivery_roads import DeliveryRoads
from service.delivery_task import DeliveryDesk, RetryRule
from service.destinations import Destination, dicom_sender, folder_sender
from service.house import House, open_house
from service.intake import book_ledger
from service.settings import DicomDestination, NodeSection, Settings
from service.settings.sections import PeerSection
from tests.dicom_node.crafted import as_file, crafted_dataset
from tests.promises.faulty_pacs import FaultyPacs, PacsFault, data_set_of, faulty_pacs
from tests.promises.installation import free_port
from tests.service.test_outbox import told

pytestmark = pytest.mark.interop
_QUICK = SendTimeouts(connection_s=1, acse_s=1, dimse_s=2)
_PATIENCE_S = 60.0

_CODES = {
    PacsFault.REFUSES: "association-refused",
    PacsFault.HANGS: "peer-unreachable",
    PacsFault.FULL: "out-of-resources",
    PacsFault.CLOSES: "no-response",
}


@dataclass(frozen=True)
class Delivering:
    """A house whose outbox empties itself towards the PACS and a folder, as fast as it may."""

    house: House
    pacs: FaultyPacs
    folder: Path
    sent: dict[str, bytes]

    def tell(self) -> int:
        """One more study with one result for each destination; the delivery to the PACS."""
        dataset = crafted_dataset()
        content, uid = as_file(dataset), str(dataset.SOPInstanceUID)
        engine = self.house.book.engine
        to_pacs, to_folder = told(
            self.house.book, self.house.results, ("pacs", "folder"), len(self.sent) + 1, content
        )
        with writing(engine) as session:
            for delivery_id in (to_pacs, to_folder):
                delivery = session.get(DeliveryRow, delivery_id)
                assert delivery is not None
                artefact = session.get(ArtefactRow, delivery.artefact_id)
                assert artefact is not None
                artefact.sop_instance_uid, delivery.created_at_utc = uid, now_utc()
        self.sent[uid] = content
        return to_pacs

    def log(self, delivery_id: int) -> list[str]:
        """Code of every failed attempt."""
        with reading(self.house.book.engine) as session:
            rows = session.query(outbox.DeliveryAttemptRow).filter_by(delivery_id=delivery_id)
            return [row.reason_code for row in rows if row.reason_code]

    def has_met(self, fault: PacsFault, delivery_id: int) -> bool:
        """Whether this delivery has met the fault, twice where it can be tried again at once."""
        if fault in _CODES:
            return self.log(delivery_id).count(_CODES[fault]) >= 2
        with reading(self.house.book.engine) as session:
            row = session.get(CustodyRow, delivery_id)
            return row is not None and row.losses >= 1

    def in_folder(self) -> int:
        return len(list(self.folder.rglob("*.dcm")))

    def custody(self) -> dict[str, int]:
        return {state: count for state, count in self.house.book.account().custody.items() if count}


def until(met: Callable[[], bool], what: str) -> None:
    ends_s = time.monotonic() + _PATIENCE_S
    while not met():
        assert time.monotonic() < ends_s, f"waited for {what}"
        time.sleep(0.1)


@pytest.fixture
def delivering(program: Callable[[str], Path], tmp_path: Path) -> Iterator[Delivering]:
    with ExitStack() as stack:
        own_port = free_port()
        pacs = stack.enter_context(faulty_pacs(program("Orthanc"), tmp_path / "pacs", raddraft_port=own_port))
        settings = Settings(
            data_dir=tmp_path / "data",
            node=NodeSection(
                port=own_port, peers=(PeerSection(ae_title="ORTHANC", host="127.0.0.1", port=pacs.port),)
            ),
            destinations=(
                DicomDestination(
                    name="pacs", type="dicom", ae_title="ORTHANC", host="127.0.0.1", port=pacs.port
                ),
            ),
        )
        house = open_house(settings)
        stack.callback(house.book.engine.dispose)
        there = Delivering(house, pacs, tmp_path / "folder", {})
        _answer_commitment(stack, house)
        _empty_the_outbox(stack, there)
        yield there


def _answer_commitment(stack: ExitStack, house: House) -> None:
    settings = house.settings
    desk = BookDesk(house, lambda ae_title, host: requestor(settings, ae_title, host) is not None)
    listener = Listener(
        ListenerSettings(port=settings.node.port, drain_s=1.0),
        house.spool,
        book_ledger(house),
        commitment=desk,
    )
    listener.start()
    stack.callback(listener.stop)
    clerk = CommitmentClerk(house, "RADDRAFT", lambda *_: None, archives(settings))
    clerk.start()
    stack.callback(clerk.stop)


def _empty_the_outbox(stack: ExitStack, there: Delivering) -> None:
    engine = there.house.book.engine
    peer = Peer("ORTHANC", "127.0.0.1", there.pacs.port)
    desk = DeliveryDesk(
        engine=engine,
        results=there.house.results,
        destinations={
            "pacs": Destination(
                "pacs", frozenset(), dicom_sender(peer, "RADDRAFT", timeouts=_QUICK), confirm=True
            ),
            "folder": Destination("folder", frozenset(), folder_sender(there.folder)),
        },
        rule=RetryRule(first_delay_s=0.2, longest_delay_s=0.5),
        circuit=CircuitRule(failures_max=2, first_pause_s=0.2, longest_pause_s=0.5),
        keeper=LeaseKeeper(engine, lease_s=60),
        owner="test",
    )
    roads = DeliveryRoads(engine, desk.deliver, width=2)
    stop = Event()

    def sweep() -> None:
        while not stop.wait(0.2):
            for delivery_id in outbox.due_deliveries(engine, now_utc(), hint_age_s=1):
                roads.put(delivery_id)

    thread = Thread(target=sweep, daemon=True)
    thread.start()

    def end() -> None:
        stop.set()
        thread.join()
        roads.close()

    stack.callback(end)


def test_what_a_faulty_pacs_was_sent_is_there_afterwards_once_and_nobody_else_has_waited(
    delivering: Delivering,
) -> None:
    pacs = delivering.pacs
    for fault in PacsFault:
        with pacs.ill(fault):
            waiting = delivering.tell()
            until(lambda: delivering.has_met(fault, waiting), f"a PACS that {fault} to be met")  # noqa: B023
            # The folder has its own while the PACS is ill.
            until(lambda: delivering.in_folder() == len(delivering.sent), "the folder to have its own")
            assert pacs.count() < len(delivering.sent)
    until(lambda: delivering.custody() == {"committed": len(PacsFault)}, "the PACS to commit to everything")
    assert pacs.objects() == {uid: data_set_of(content) for uid, content in delivering.sent.items()}
    account = delivering.house.book.account()
    assert account.deliveries["delivered"] == 2 * len(PacsFault) == sum(account.deliveries.values())
