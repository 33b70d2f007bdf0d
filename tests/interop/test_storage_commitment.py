"""Storage commitment with Orthanc, both ways: it asks us about what it sent, we ask it about what it took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
)

from dicom_node import Listener, ListenerSettings, Peer, send_objects
from dicom_node.commitment import PUSH_MODEL_INSTANCE_UID, CommitmentRequest, Reference, request_dataset
from service.book import DeliveryState, outbox
from service.book.custody import unsettled
from service.book.database import reading, writing
from service.book.tables import ArtefactRow, CommitmentRow, CustodyRow, DeliveryRow
from service.commitment import BookDesk, CommitmentClerk
from service.correspondents import archives, requestor
from service.house import House, open_house
from service.intake import book_ledger
from service.settings import Settings
from service.settings.sections import DicomDestination, NodeSection, PeerSection
from tests.dicom_node.crafted import as_file, crafted_dataset
from tests.promises.far_ends import orthanc
from tests.promises.installation import free_port
from tests.service.test_outbox import NOW, told

pytestmark = pytest.mark.interop
_CR = str(ComputedRadiographyImageStorage)


@dataclass(frozen=True)
class Site:
    """A listener with its book, its clerk, and where it is."""

    house: House
    clerk: CommitmentClerk
    peer: Peer

    def custody(self) -> list[str]:
        with reading(self.house.book.engine) as session:
            return [row.state for row in session.query(CustodyRow).order_by(CustodyRow.delivery_id)]

    def delivery_state(self, delivery_id: int) -> str:
        with reading(self.house.book.engine) as session:
            row = session.get(DeliveryRow, delivery_id)
            assert row is not None
            return row.state

    def delivered(self, content: bytes, sop_instance_uid: str) -> int:
        """One result the destination "pacs" is said to have taken; its delivery row."""
        engine = self.house.book.engine
        (delivery_id,) = told(self.house.book, self.house.results, ("pacs",))
        entry = self.house.results.put(content)
        with writing(engine) as session:
            delivery = session.get(DeliveryRow, delivery_id)
            artefact = session.get(ArtefactRow, delivery.artefact_id) if delivery else None
            assert artefact is not None
            artefact.spool_key, artefact.sop_instance_uid = entry.key, sop_instance_uid
        lease = outbox.lease_delivery(engine, delivery_id, owner="w", lease_s=30, now=NOW)
        assert lease is not None
        outbox.end_delivery(engine, lease, DeliveryState.DELIVERED, status="0x0000", now=NOW, confirm=True)
        return delivery_id


@contextmanager
def site(folder: Path, pacs_port: int, *, pacs_ae_title: str = "ORTHANC") -> Iterator[Site]:
    settings = Settings(
        data_dir=folder,
        node=NodeSection(
            peers=(
                PeerSection(ae_title=pacs_ae_title, host="127.0.0.1", port=pacs_port),
                PeerSection(ae_title="MODALITY", host="127.0.0.1"),
            )
        ),
        destinations=(
            DicomDestination(
                name="pacs", type="dicom", ae_title=pacs_ae_title, host="127.0.0.1", port=pacs_port
            ),
        ),
    )
    house = open_house(settings)

    def back(ae_title: str, host: str) -> Any:
        return requestor(settings, ae_title, host)

    desk = BookDesk(house, lambda ae_title, host: back(ae_title, host) is not None)
    listener = Listener(
        ListenerSettings(port=0, drain_s=1.0), house.spool, book_ledger(house), commitment=desk
    )
    listener.start()
    clerk = CommitmentClerk(house, "RADDRAFT", back, archives(settings))
    try:
        yield Site(house, clerk, Peer("RADDRAFT", "127.0.0.1", listener.port))
    finally:
        listener.stop()
        house.book.engine.dispose()


def wait_until(check: Callable[[], bool], what: str) -> None:
    ends_s = time.monotonic() + 60
    while not check():
        assert time.monotonic() < ends_s, what
        time.sleep(0.2)


@contextmanager
def site_with_orthanc(program: Callable[[str], Path], folder: Path) -> Iterator[tuple[Site, httpx.Client]]:
    pacs_port = free_port()
    with ExitStack() as stack:
        here = stack.enter_context(site(folder / "data", pacs_port))
        pacs = stack.enter_context(
            orthanc(program("Orthanc"), folder, dicom_port=pacs_port, raddraft_port=here.peer.port)
        )
        yield here, pacs


def test_orthanc_asks_us_to_commit_and_gets_its_answer_from_the_book(
    program: Callable[[str], Path], tmp_path: Path
) -> None:
    with site_with_orthanc(program, tmp_path) as (here, pacs):
        stored = pacs.post("/instances", content=as_file(crafted_dataset())).json()["ID"]
        sent = pacs.post(
            "/modalities/raddraft/store", json={"Resources": [stored], "StorageCommitment": True}
        )
        transaction = sent.json()["StorageCommitmentTransactionUID"]

        def told_so() -> bool:
            here.clerk.work()
            return bool(pacs.get(f"/storage-commitment/{transaction}").json()["Status"] == "Success")

        wait_until(told_so, "Orthanc to hear that its object is kept")
        unknown = {"DicomInstances": [{"SOPClassUID": _CR, "SOPInstanceUID": "1.2.3.404"}]}
        asked = pacs.post("/modalities/raddraft/storage-commitment", json=unknown)
        transaction = asked.json()["ID"]

        def told_of_the_unknown() -> bool:
            here.clerk.work()
            return bool(pacs.get(f"/storage-commitment/{transaction}").json()["Status"] == "Failure")

        wait_until(told_of_the_unknown, "Orthanc to hear that we do not hold an object")


def test_orthanc_commits_to_what_it_took_and_what_it_lost_is_sent_again(
    program: Callable[[str], Path], tmp_path: Path
) -> None:
    with site_with_orthanc(program, tmp_path) as (here, pacs):
        dataset = crafted_dataset()
        content = as_file(dataset)
        pacs.post("/instances", content=content).raise_for_status()
        here.delivered(content, str(dataset.SOPInstanceUID))
        here.clerk.work()
        wait_until(lambda: here.custody() == ["committed"], "Orthanc to commit")
        assert unsettled(here.house.book.engine) == {}


def test_what_the_archive_no_longer_has_is_sent_again(program: Callable[[str], Path], tmp_path: Path) -> None:
    with site_with_orthanc(program, tmp_path) as (here, _):
        dataset = crafted_dataset()
        delivery_id = here.delivered(as_file(dataset), str(dataset.SOPInstanceUID))
        here.clerk.work()
        wait_until(lambda: here.custody() == ["lost"], "Orthanc to say that it does not have it")
        assert here.delivery_state(delivery_id) == "pending"


@pytest.mark.parametrize(("holds", "expected"), [(True, "read_back"), (False, "lost")])
def test_an_archive_without_commitment_is_read_back_at_image_level(
    tmp_path: Path, holds: bool, expected: str
) -> None:
    levels: list[str] = []

    def find(event: evt.Event) -> Iterator[Any]:
        levels.append(str(event.identifier.QueryRetrieveLevel))
        if holds:
            yield 0xFF00, event.identifier

    ae = AE("PACS")
    ae.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, find)])
    try:
        port = server.socket.getsockname()[1]
        with site(tmp_path / "data", port, pacs_ae_title="PACS") as here:
            dataset = crafted_dataset()
            here.delivered(as_file(dataset), str(dataset.SOPInstanceUID))
            here.clerk.work()
            assert here.custody() == [expected]
            assert levels == ["IMAGE"]
    finally:
        server.shutdown()


def test_who_cannot_be_called_back_is_answered_on_its_own_association(tmp_path: Path) -> None:
    reports: list[Any] = []

    def report(event: evt.Event) -> tuple[int, None]:
        reports.append((event.event_type, event.event_information))
        return 0x0000, None

    with site(tmp_path / "data", free_port()) as here:
        dataset = crafted_dataset()
        assert send_objects([as_file(dataset)], here.peer, calling_ae_title="MODALITY")[0].status == 0x0000
        ae = AE("MODALITY")
        ae.add_requested_context(StorageCommitmentPushModel, ExplicitVRLittleEndian)
        association = ae.associate(
            here.peer.host,
            here.peer.port,
            ae_title="RADDRAFT",
            evt_handlers=[(evt.EVT_N_EVENT_REPORT, report)],
        )
        uid = str(dataset.SOPInstanceUID)
        request = CommitmentRequest(
            "1.2.3.77", (Reference(_CR, uid), Reference("1.2.840.10008.5.1.4.1.1.2", uid))
        )
        status, _ = association.send_n_action(
            request_dataset(request), 1, StorageCommitmentPushModel, PUSH_MODEL_INSTANCE_UID
        )
        assert status.Status == 0x0000
        wait_until(lambda: bool(reports), "the report on the same association")
        association.release()
        ((event_type, told),) = reports
        assert event_type == 2 and told.TransactionUID == "1.2.3.77"
        assert told.ReferencedSOPSequence[0].ReferencedSOPClassUID == _CR
        # The same instance under another class (PS3.3 C.14: 0119H).
        assert told.FailedSOPSequence[0].FailureReason == 0x0119
        with reading(here.house.book.engine) as session:
            (row,) = session.query(CommitmentRow).all()
            assert row.reported_at_utc is not None
