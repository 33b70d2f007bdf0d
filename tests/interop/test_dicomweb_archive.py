"""Results to an archive of another maker over DICOMweb: stored byte for byte, read back before our copy goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from clinical import draft_to_json
from reporting import build_faces
from service.book.database import reading, writing
from service.book.leases import LeaseKeeper
from service.book.tables import CustodyRow, DeliveryRow
from service.clock import now_utc
from service.commitment import CommitmentClerk
from service.correspondents import archives
from service.delivery_task import DeliveryDesk
from service.house import House, open_house
from service.io_worker import circuit_rule, destinations, retry_rule
from service.retention import Retention, site_retention
from service.settings import Settings, StowDestination
from service.settings.sections import RetentionSection
from tests.promises.far_ends import orthanc
from tests.promises.installation import free_port
from tests.reporting import crafted
from tests.service.told_results import artefact_row, delivery_row, draft_row, study_row

pytestmark = pytest.mark.interop
_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
_KINDS = ("sr", "pr", "sc", "summary", "narrative", "pdf")


@dataclass(frozen=True)
class Site:
    """An account book with one study told to Orthanc, and those who deliver and ask."""

    house: House
    pacs: httpx.Client
    sent: dict[str, bytes]

    def deliver(self) -> list[str]:
        """Send what is pending, its pauses being over; the state of every delivery afterwards."""
        engine = self.house.book.engine
        with writing(engine) as session:
            for row in session.query(DeliveryRow).filter_by(state="pending"):
                row.due_at_utc = now_utc()
        desk = DeliveryDesk(
            engine=engine,
            results=self.house.results,
            destinations={each.name: each for each in destinations(self.house.settings)},
            rule=retry_rule(self.house.settings),
            circuit=circuit_rule(self.house.settings),
            keeper=LeaseKeeper(engine, lease_s=60),
            owner="test",
        )
        with reading(engine) as session:
            ids = [row.id for row in session.query(DeliveryRow).filter_by(state="pending")]
        for delivery_id in ids:
            desk.deliver(delivery_id)
        with reading(engine) as session:
            return [row.state for row in session.query(DeliveryRow)]

    def ask(self) -> list[str]:
        """Ask the archive what is due; the custody of every delivery afterwards."""
        CommitmentClerk(self.house, "RADDRAFT", lambda *_: None, archives(self.house.settings)).work()
        with reading(self.house.book.engine) as session:
            return [row.state for row in session.query(CustodyRow).order_by(CustodyRow.delivery_id)]

    def held_by_orthanc(self) -> dict[str, bytes]:
        """Every object's file, as Orthanc stores it, by SOP Instance UID."""
        return {
            instance["MainDicomTags"]["SOPInstanceUID"]: self.pacs.get(
                f"/instances/{instance['ID']}/file"
            ).content
            for instance in self.pacs.get("/instances?expand").json()
        }

    def lose(self, sop_instance_uid: str) -> None:
        (found,) = self.pacs.post("/tools/lookup", content=sop_instance_uid).json()
        self.pacs.delete(f"/instances/{found['ID']}").raise_for_status()

    def retention(self) -> Retention:
        return site_retention(self.house, "user:tester")


@pytest.fixture
def site(program: Callable[[str], Path], tmp_path: Path) -> Iterator[Site]:
    if not _PLUGIN.exists():
        pytest.skip("Orthanc has no DICOMweb plugin")
    with orthanc(program("Orthanc"), tmp_path, dicom_port=free_port(), plugins=_PLUGIN) as pacs:
        destination = StowDestination.model_validate(
            {"name": "pacs", "type": "stow", "base_url": f"{pacs.base_url}/dicom-web", "objects": _KINDS}
        )
        settings = Settings(
            data_dir=tmp_path / "data",
            destinations=(destination,),
            retention=RetentionSection(results_days=30),
        )
        house = open_house(settings)
        yield Site(house, pacs, _tell(house))
        house.book.engine.dispose()


def _tell(house: House) -> dict[str, bytes]:
    """A study whose every face is in the outbox; the faces by SOP Instance UID."""
    header = crafted.radiograph()
    draft = crafted.draft([header])
    faces = build_faces(draft, crafted.sources(header), kinds=frozenset(_KINDS))
    with writing(house.book.engine) as session:
        study = study_row(session, crafted.STUDY_UID, draft_version=1)
        made = draft_row(session, study.id, draft_json=draft_to_json(draft))
        for face in faces:
            entry = house.results.put(face.content)
            stored = artefact_row(session, made.id, face.kind, entry, sop_instance_uid=face.sop_instance_uid)
            delivery_row(session, stored, "pacs")
    return {face.sop_instance_uid: face.content for face in faces}


def test_every_kind_of_object_is_stored_as_it_was_built_and_read_back(site: Site) -> None:
    assert len(site.sent) >= len(_KINDS)
    assert set(site.deliver()) == {"delivered"}
    assert site.held_by_orthanc() == site.sent
    assert set(site.ask()) == {"read_back"}


def test_an_object_the_archive_has_lost_is_sent_again_and_is_there_once(site: Site) -> None:
    site.deliver()
    lost, *_ = site.sent
    site.lose(lost)
    assert sorted(site.ask()) == ["lost"] + ["read_back"] * (len(site.sent) - 1)
    assert site.house.book.account().deliveries["pending"] == 1
    assert set(site.deliver()) == {"delivered"}
    assert set(site.ask()) == {"read_back"}
    assert site.held_by_orthanc() == site.sent


def test_our_copy_goes_only_when_the_archive_shows_that_it_has_its_own(site: Site) -> None:
    site.deliver()
    later = now_utc() + timedelta(days=31)
    kept = site.retention().purge(later)
    assert (kept.result_files, [(k.destination, k.state) for k in kept.kept_back]) == (0, [("pacs", "due")])
    assert len(list(site.house.results.keys())) == len(site.sent)
    site.ask()
    gone = site.retention().purge(later)
    assert (gone.result_files, gone.kept_back) == (len(site.sent), ())
    assert list(site.house.results.keys()) == []
    assert site.held_by_orthanc() == site.sent
