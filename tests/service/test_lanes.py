"""Messages of one accession leave in order, one at a time; an HL7 v2 destination is held, retried and taken back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from hl7_fhir.v2 import OruProfile, build_oru, parse_message
from service.book.book import Book
from service.book.database import reading, writing
from service.book.outbox import due_deliveries, end_delivery, lease_delivery
from service.book.resending import DeliveryQuery, resend
from service.book.states import DeliveryState
from service.book.tables import ArtefactRow, DeliveryRow
from service.clock import now_utc
from service.house import House, open_house
from service.retracting import retract_study
from service.settings import ConfigurationError, Hl7v2Destination, load_settings
from tests.hl7_fhir.drafts import HEADER, draft
from tests.service.told_results import artefact_row, delivery_row, draft_row, study_row

DESTINATION = 'name = "ris"\ntype = "hl7v2"\nhost = "127.0.0.1"\nport = 1'


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    config = tmp_path / "site.toml"
    config.write_text(
        f'data_dir = "{tmp_path / "data"}"\n[[destinations]]\n{DESTINATION}\n', encoding="utf-8"
    )
    opened = open_house(load_settings(config))
    yield opened
    opened.book.engine.dispose()


def told(house: House, versions: int, lane: str, study_uid: str = "1.2.3.4") -> list[int]:
    """A study with one ORU a version; ids of the deliveries."""
    ids = []
    with writing(house.book.engine) as session:
        study = study_row(session, study_uid, draft_version=versions)
        for version in range(1, versions + 1):
            profile = OruProfile(default_authority="HOSP")
            message = build_oru(draft(version=version), HEADER, profile, receiver="ris", report_text="text")
            made = draft_row(session, study.id, version)
            artefact = artefact_row(session, made.id, "oru", house.results.put(message), destination="ris")
            ids.append(delivery_row(session, artefact, "ris", lane=lane).id)
    return ids


def lease(book: Book, delivery_id: int, later_s: float = 0) -> object:
    now = now_utc() + timedelta(seconds=later_s)
    return lease_delivery(book.engine, delivery_id, owner="w", lease_s=30, now=now)


def test_a_later_message_of_the_lane_waits_until_the_earlier_one_has_ended(house: House) -> None:
    (first,), (second,) = told(house, 1, "lane"), told(house, 1, "lane", "1.2.3.6")
    (other,) = told(house, 1, "other", "1.2.3.5")
    assert due_deliveries(house.book.engine, now_utc(), 0) == [first, other]
    assert lease(house.book, second) is None
    held = lease(house.book, first)
    assert held is not None
    assert lease(house.book, second) is None
    # Put back after an error, the first still goes first, though the second is due earlier.
    end_delivery(
        house.book.engine,
        held,
        DeliveryState.PENDING,
        status="",
        now=now_utc(),
        due_at_utc=now_utc() + timedelta(hours=1),
    )
    assert due_deliveries(house.book.engine, now_utc() + timedelta(minutes=1), 0) == [other]
    again = lease(house.book, first, later_s=7200)
    end_delivery(house.book.engine, again, DeliveryState.DELIVERED, status="AA", now=now_utc())
    assert lease(house.book, second) is not None


@pytest.mark.parametrize("ended", [DeliveryState.REFUSED, DeliveryState.GAVE_UP])
def test_a_message_that_ended_without_success_blocks_nobody(house: House, ended: DeliveryState) -> None:
    (first,), (second,) = told(house, 1, "lane"), told(house, 1, "lane", "1.2.3.6")
    end_delivery(house.book.engine, lease(house.book, first), ended, status="", now=now_utc())
    assert lease(house.book, second) is not None


def test_without_a_lane_everything_leaves_at_once(house: House) -> None:
    (first,), (second,) = told(house, 1, ""), told(house, 1, "", "1.2.3.6")
    assert lease(house.book, first) and lease(house.book, second)


def test_an_old_version_is_not_put_back_behind_a_newer_one(house: House) -> None:
    first, second = told(house, 2, "lane")
    with writing(house.book.engine) as session:
        for delivery_id in (first, second):
            session.get_one(DeliveryRow, delivery_id).state = DeliveryState.REFUSED
    assert resend(house.book.engine, DeliveryQuery(), actor="test", now=now_utc()) == 1
    with reading(house.book.engine) as session:
        states = {row.id: row.state for row in session.scalars(select(DeliveryRow))}
    assert states == {first: DeliveryState.REFUSED, second: DeliveryState.PENDING}


@pytest.mark.parametrize("lane", ["lane", ""])
@pytest.mark.parametrize("state", [DeliveryState.PENDING, DeliveryState.SENDING])
def test_an_old_version_whose_attempt_failed_after_a_newer_was_told_never_leaves(
    house: House, lane: str, state: DeliveryState
) -> None:
    first, second = told(house, 2, lane)
    with writing(house.book.engine) as session:
        # Put back by its worker, or left by one that died, while the newer version was told.
        row = session.get_one(DeliveryRow, first)
        row.state, row.lease_until_utc = state, now_utc()
    assert lease(house.book, first) is None
    with reading(house.book.engine) as session:
        row = session.get_one(DeliveryRow, first)
        assert (row.state, row.reason_code) == (DeliveryState.SUPERSEDED, "newer-draft")
    assert lease(house.book, second) is not None


def test_a_result_under_way_while_it_is_taken_back_leaves_no_second_time(house: House) -> None:
    (first,) = told(house, 1, "lane")
    held = lease(house.book, first)
    assert retract_study(house, "1.2.3.4", "wrong side", actor="test") == ["ris"]
    end_delivery(
        house.book.engine, held, DeliveryState.PENDING, status="", now=now_utc(), due_at_utc=now_utc()
    )
    assert lease(house.book, first) is None
    with reading(house.book.engine) as session:
        states = {row.kind: row.id for row in session.scalars(select(DeliveryRow))}
        assert session.get_one(DeliveryRow, first).state == DeliveryState.SUPERSEDED
    assert lease(house.book, states["oru-retraction"]) is not None


def test_a_retraction_waits_for_what_it_takes_back(house: House) -> None:
    (first,) = told(house, 1, "lane")
    held = lease(house.book, first)
    assert retract_study(house, "1.2.3.4", "wrong side", actor="test") == ["ris"]
    with reading(house.book.engine) as session:
        row = session.scalars(select(DeliveryRow).where(DeliveryRow.kind == "oru-retraction")).one()
        artefact = session.get(ArtefactRow, row.artefact_id)
    assert row.lane == "lane" and artefact is not None
    assert lease(house.book, row.id) is None
    end_delivery(house.book.engine, held, DeliveryState.DELIVERED, status="AA", now=now_utc())
    assert lease(house.book, row.id) is not None
    with house.results.open(artefact.spool_key) as file:
        message = parse_message(file.read())
    assert message.first("OBR").raw(25) == "X"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('attachment = "link"', "go together"),
        ('link = "https://viewer.example"', "go together"),
        ('version = "2.9"', "version"),
        ('charset = "KLINGON"', "charset"),
        ('draft_status = "final"', "draft_status"),
        ('recieving_application = "x"', "receiving_application"),
    ],
)
def test_settings_that_cannot_work_are_refused_in_one_line(tmp_path: Path, line: str, says: str) -> None:
    config = tmp_path / "site.toml"
    config.write_text(f"[[destinations]]\n{DESTINATION}\n{line}\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=says) as caught:
        load_settings(config)
    assert "\n" not in str(caught.value)


def test_the_port_of_hl7_is_the_default(tmp_path: Path) -> None:
    entry = Hl7v2Destination(name="ris", type="hl7v2", host="ris.example")
    assert (entry.port, entry.version, entry.tls) == (2575, "2.5.1", None)
