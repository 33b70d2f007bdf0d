"""A report whose SOP class an archive refuses reaches it in the next one, as stored bytes, and is withdrawn as such."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from clinical import Permanent, draft_to_json
from reporting import ALL_SR_CLASSES, build_faces
from service.book.database import reading, writing
from service.book.held_results import rejectable
from service.book.outbox import DeliveryLease
from service.book.purge import RetentionRule, purge_study
from service.book.states import DeliveryState, StudyState
from service.book.tables import ArtefactRow, DeliveryRow, StudyRow
from service.clock import now_utc
from service.delivery_task import DeliveryDesk
from service.destinations import NOT_NEGOTIATED, Destination, Sent
from service.faces import REJECTION
from service.house import House, open_house
from service.io_worker import circuit_rule, destinations, retry_rule
from service.retracting import retract_study
from service.settings import load_settings
from tests.reporting import crafted
from tests.service.told_results import artefact_row, delivery_row, draft_row, study_row


@pytest.fixture
def house(tmp_path: Path) -> House:
    """A study told to an archive: its report in three classes, one delivery."""
    config = tmp_path / "site.toml"
    config.write_text(
        f'data_dir = "{tmp_path / "data"}"\n[[destinations]]\nname = "pacs"\ntype = "dicom"\nae_title = "PACS"\n'
        'host = "127.0.0.1"\nport = 1\nobjects = ["sr", "ko"]\n',
        encoding="utf-8",
    )
    house = open_house(load_settings(config))
    header = crafted.radiograph()
    draft = crafted.draft([header])
    with writing(house.book.engine) as session:
        study = study_row(session, crafted.STUDY_UID)
        made = draft_row(session, study.id, draft_json=draft_to_json(draft))
        for face in build_faces(
            draft, crafted.sources(header), kinds=frozenset({"sr"}), sr_classes=ALL_SR_CLASSES
        ):
            entry = house.results.put(face.content)
            artefact = artefact_row(
                session, made.id, face.kind, entry, sop_instance_uid=face.sop_instance_uid
            )
            if face.kind == "sr":
                delivery_row(session, artefact, "pacs")
    return house


class _NoKeeper:
    lease_s = 30.0

    def hold(self, lease: object) -> None: ...

    def drop(self, lease: object) -> None: ...


def _deliver(house: House, taken: str) -> list[bytes]:
    """Deliver to an archive that takes one SOP class; what it was offered."""
    offered: list[bytes] = []

    def send(lease: DeliveryLease, content: bytes) -> Sent:
        offered.append(content)
        if crafted.parsed(content).SOPClassUID.name != taken:
            raise Permanent(NOT_NEGOTIATED, "not this class")
        return Sent("0x0000")

    (place,) = destinations(house.settings)
    archive = Destination(place.name, place.kinds, send, ladder=place.ladder)
    desk = DeliveryDesk(
        engine=house.book.engine,
        results=house.results,
        destinations={"pacs": archive},
        rule=retry_rule(house.settings),
        circuit=circuit_rule(house.settings),
        keeper=_NoKeeper(),  # type: ignore[arg-type]
        owner="test",
    )
    desk.deliver(1)
    return offered


def _row(house: House) -> tuple[str, str, str]:
    with reading(house.book.engine) as session:
        row = session.scalars(select(DeliveryRow).where(DeliveryRow.kind == "sr")).one()
        artefact = session.get(ArtefactRow, row.artefact_id)
        assert artefact is not None
        return row.state, artefact.kind, row.reason


@pytest.mark.parametrize(
    ("taken", "kind", "offers"),
    [
        ("Comprehensive 3D SR Storage", "sr", 1),
        ("Comprehensive SR Storage", "sr-comprehensive", 2),
        ("Enhanced SR Storage", "sr-enhanced", 3),
    ],
)
def test_the_first_class_the_archive_takes_is_delivered(
    house: House, taken: str, kind: str, offers: int
) -> None:
    offered = _deliver(house, taken)
    state, sent, _ = _row(house)
    assert (state, sent, len(offered)) == (DeliveryState.DELIVERED, kind, offers)


def test_an_archive_that_takes_none_has_refused(house: House) -> None:
    assert len(_deliver(house, "CT Image Storage")) == 3
    assert _row(house)[0] == DeliveryState.REFUSED


def test_what_is_taken_back_is_what_the_archive_got(house: House) -> None:
    offered = _deliver(house, "Comprehensive SR Storage")
    assert retract_study(house, crafted.STUDY_UID, "wrong side", actor="user:tester") == ["pacs"]
    assert retract_study(house, crafted.STUDY_UID, "wrong side", actor="user:tester") == []
    with reading(house.book.engine) as session:
        rejection = session.scalars(select(ArtefactRow).where(ArtefactRow.kind == "ko")).one()
        waiting = session.scalars(select(DeliveryRow).where(DeliveryRow.kind == "ko")).one()
        assert (waiting.destination, waiting.state) == ("pacs", DeliveryState.PENDING)
    with house.results.open(rejection.spool_key) as file:
        document = crafted.parsed(file.read())
    named = [
        item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        for item in document.ContentSequence
        if item.ValueType == "COMPOSITE"
    ]
    assert named == [crafted.parsed(offered[-1]).SOPInstanceUID]


def _purged(house: House) -> None:
    later = now_utc() + timedelta(days=2)
    assert purge_study(
        house.book.engine, 1, RetentionRule(results_days=1), actor="user:tester", now=later
    ).drafts


def test_purged_results_keep_no_later_version_from_being_told(house: House) -> None:
    _deliver(house, "Comprehensive SR Storage")
    assert len(rejectable(house.book.engine, 1, ["pacs"], REJECTION, before_version=2).held) == 1
    _purged(house)
    assert rejectable(house.book.engine, 1, ["pacs"], REJECTION, before_version=2).held == []


def test_purged_results_are_said_to_be_taken_back_by_hand(house: House) -> None:
    _deliver(house, "Comprehensive SR Storage")
    _purged(house)
    for _ in range(2):
        with pytest.raises(Permanent, match=r"results-purged.*at pacs"):
            retract_study(house, crafted.STUDY_UID, "wrong side", actor="user:tester")


def test_what_was_taken_back_before_it_was_purged_is_not_asked_for_again(house: House) -> None:
    _deliver(house, "Comprehensive SR Storage")
    retract_study(house, crafted.STUDY_UID, "wrong side", actor="user:tester")
    with writing(house.book.engine) as session:
        session.scalars(
            select(DeliveryRow).where(DeliveryRow.kind == "ko")
        ).one().state = DeliveryState.DELIVERED
        session.scalars(select(StudyRow)).one().state = StudyState.DONE
    _purged(house)
    assert retract_study(house, crafted.STUDY_UID, "wrong side", actor="user:tester") == []
