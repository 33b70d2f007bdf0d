"""A report no rung of a FHIR server takes goes to the HL7 v2 receiver the site names: once, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from hl7_fhir.v2 import lane_of_message, parse_message
from service.book.database import reading, writing
from service.book.states import DeliveryState, StudyState
from service.book.tables import DeliveryAttemptRow, DeliveryRow, StudyRow
from service.destinations import Destination
from service.house import House
from service.io_worker import destinations
from service.rematching import rematch
from service.retracting import retract_study
from service.settings import ConfigurationError, load_settings
from tests.hl7_fhir.scripted_server import Answer, Asked, scripted_server
from tests.service.hospital import (
    LISTENING,
    STUDY_UID,
    a40,
    answer_code,
    deliver_all,
    drafted,
    hearing,
    opened,
    received,
    tell_places,
)

DELIVERED, SUPERSEDED, PENDING = DeliveryState.DELIVERED, DeliveryState.SUPERSEDED, DeliveryState.PENDING
NOTHING: list[dict[str, Any]] = [{"type": "Patient", "interaction": [{"code": "read"}]}]


def statement(resources: list[dict[str, Any]], interactions: tuple[str, ...] = ()) -> dict[str, Any]:
    server = {
        "mode": "server",
        "interaction": [{"code": code} for code in interactions],
        "resource": resources,
    }
    return {"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "rest": [server]}


@dataclass
class FarEnds:
    """A FHIR server that says what it offers and answers writes with a status, and an HL7 v2 receiver."""

    house: House
    study_id: int
    fhir: dict[str, Any]
    asked: list[Asked]
    messages: list[bytes]
    places: tuple[Destination, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.places = destinations(self.house.settings)

    def tell(self, version: int = 1) -> None:
        drafted(self.house, self.study_id, {}, version=version, state=StudyState.DRAFTED)
        tell_places(self.house, self.study_id, self.places)

    def tell_and_deliver(self, version: int = 1) -> None:
        self.tell(version)
        deliver_all(self.house, self.places)

    def rows(self) -> dict[tuple[str, str, int], tuple[str, str]]:
        with reading(self.house.book.engine) as session:
            found = session.scalars(select(DeliveryRow).order_by(DeliveryRow.id)).all()
            return {(r.destination, r.kind, r.draft_id): (r.state, r.reason_code) for r in found}

    def study_state(self) -> str:
        with reading(self.house.book.engine) as session:
            return session.scalars(select(StudyRow.state)).one()

    def writes(self) -> list[str]:
        return [one.method for one in self.asked if one.method != "GET"]


def site(fhir: str, port: int, more: str = "only_fallback = true\n") -> str:
    return (
        f'{LISTENING}[[destinations]]\nname = "ehr"\ntype = "fhir"\nbase_url = "{fhir}"\nmatching = "identifier"\n'
        'issuers = { HOSP = "urn:oid:1.2.3" }\nfallback = "ris"\n'
        f'[[destinations]]\nname = "ris"\ntype = "hl7v2"\nhost = "127.0.0.1"\nport = {port}\n'
        f'issuers = {{ HOSP = "HOSP&1.2.3&ISO" }}\n{more}'
    )


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, list[bytes]]]:
    """An HL7 v2 receiver: its port, and what it has heard."""
    with opened(tmp_path_factory.mktemp("hospital"), LISTENING) as there, hearing(there) as heard:
        yield heard


@pytest.fixture
def more() -> str:
    """Settings of the receiver."""
    return "only_fallback = true\n"


@pytest.fixture
def far(tmp_path: Path, more: str, hospital: tuple[int, list[bytes]]) -> Iterator[FarEnds]:
    fhir: dict[str, Any] = {"metadata": (200, statement(NOTHING)), "write": 422}

    def answer(asked: Asked) -> Answer:
        if asked.path == "/fhir/metadata":
            status, body = fhir["metadata"]
            return status, body
        if asked.method == "GET":
            return 200, {"resourceType": "Bundle", "type": "searchset", "entry": []}
        if fhir["write"] != 200:
            return fhir["write"], {"resourceType": "OperationOutcome"}
        entries = [{"response": {"status": "201"}} for _ in range(9)]
        return 200, {"resourceType": "Bundle", "type": "transaction-response", "entry": entries}

    port, messages = hospital
    messages.clear()
    with (
        scripted_server(answer) as server,
        opened(tmp_path, site(server.base_url, port, more)) as house,
    ):
        yield FarEnds(house, received(house, tmp_path), fhir, server.asked, messages)


def test_a_server_that_offers_nothing_leaves_the_report_to_the_receiver_once(far: FarEnds) -> None:
    far.tell_and_deliver()
    assert far.rows() == {
        ("ehr", "fhir", 1): (SUPERSEDED, "fell-back"),
        ("ris", "oru", 1): (DELIVERED, ""),
    }
    assert far.study_state() == StudyState.DONE
    (message,) = map(parse_message, far.messages)
    assert message.first("OBR").raw(25) == "P"
    assert not far.writes()
    with reading(far.house.book.engine) as session:
        reasons = session.scalars(select(DeliveryAttemptRow.reason).order_by(DeliveryAttemptRow.id)).all()
        lanes = session.scalars(select(DeliveryRow.lane).where(DeliveryRow.kind == "oru")).all()
    assert reasons[0].endswith("it goes to ris") and len(reasons) == 2
    assert lanes == [lane_of_message("ris", far.messages[0])]
    assert far.house.book.retry(actor="user:tester") == 0
    deliver_all(far.house, far.places)
    assert len(far.messages) == 1


@pytest.mark.parametrize("more", [""])
def test_a_receiver_that_has_the_report_anyhow_gets_no_second_one(far: FarEnds) -> None:
    far.tell_and_deliver()
    assert far.rows() == {
        ("ehr", "fhir", 1): (SUPERSEDED, "fell-back"),
        ("ris", "oru", 1): (DELIVERED, ""),
    }
    assert len(far.messages) == 1


@pytest.mark.parametrize(
    ("metadata", "write"),
    [
        ((503, {}), 422),
        ((403, {}), 403),
        ((200, statement([], ("transaction",))), 401),
        ((200, statement([], ("transaction",))), 403),
        ((200, statement([], ("transaction",))), 409),
        ((200, statement([], ("transaction",))), 412),
        ((200, statement([], ("transaction",))), 422),
        ((200, {**statement(NOTHING), "fhirVersion": "5.0.0"}), 422),
    ],
)
def test_nothing_but_the_servers_own_word_makes_a_report_fall(
    far: FarEnds, metadata: tuple[int, Any], write: int
) -> None:
    far.fhir.update(metadata=metadata, write=write)
    far.tell()
    with writing(far.house.book.engine) as session:
        session.scalars(select(DeliveryRow)).one().due_at_utc = None
    deliver_all(far.house, far.places)
    ((_, (state, code)),) = far.rows().items()
    assert state in (DeliveryState.PENDING, DeliveryState.REFUSED) and code != "fell-back"
    assert far.messages == []


def test_a_report_the_server_takes_falls_nowhere(far: FarEnds) -> None:
    far.fhir.update(metadata=(200, statement([], ("transaction",))), write=200)
    far.tell_and_deliver()
    assert far.rows() == {("ehr", "fhir", 1): (DELIVERED, "")}
    assert far.messages == []


def test_later_versions_and_the_retraction_go_the_way_the_report_went(far: FarEnds) -> None:
    far.tell_and_deliver()
    # The server has learnt to take reports; this study's stands elsewhere by now.
    far.fhir.update(metadata=(200, statement([], ("transaction",))), write=200)
    far.places = destinations(far.house.settings)
    far.tell_and_deliver(version=2)
    assert ("ehr", "fhir", 2) not in far.rows()
    assert far.rows()["ris", "oru", 2] == (DELIVERED, "")
    assert retract_study(far.house, STUDY_UID, "wrong side", actor="user:tester") == ["ris"]
    deliver_all(far.house, far.places)
    statuses = [parse_message(message).first("OBR").raw(25) for message in far.messages]
    assert statuses == ["P", "P", "X"]
    assert not far.writes()


def test_what_is_at_the_server_from_before_is_taken_back_there(far: FarEnds) -> None:
    far.fhir.update(metadata=(200, statement([], ("transaction",))), write=200)
    far.tell_and_deliver()
    far.fhir.update(metadata=(200, statement(NOTHING)))
    far.places = destinations(far.house.settings)
    far.tell_and_deliver(version=2)
    assert far.rows()["ehr", "fhir", 2] == (SUPERSEDED, "fell-back")
    assert sorted(retract_study(far.house, STUDY_UID, "wrong side", actor="user:tester")) == ["ehr", "ris"]
    with reading(far.house.book.engine) as session:
        query = select(DeliveryRow.draft_id).where(DeliveryRow.kind == "fhir-retraction")
        assert session.scalars(query).all() == [1]


def test_a_study_an_operator_holds_back_does_not_slip_out_by_the_other_way(far: FarEnds) -> None:
    far.tell()
    with writing(far.house.book.engine) as session:
        session.scalars(select(StudyRow)).one().held_for = "ris"
    deliver_all(far.house, far.places)
    assert far.rows()["ris", "oru", 1] == (DeliveryState.HELD, "held")
    assert far.messages == []


def test_a_patient_merged_meanwhile_has_the_surviving_number_in_what_falls(far: FarEnds) -> None:
    far.tell_and_deliver()
    assert answer_code(far.house, a40()) == "AA"
    with writing(far.house.book.engine) as session:
        session.scalars(select(DeliveryRow).where(DeliveryRow.kind == "oru")).one().state = PENDING
    assert answer_code(far.house, a40("P-0815^^^HOSP&1.2.3&ISO^MR", "P-0816^^^HOSP&1.2.3&ISO^MR",
                                      control_id="M9")) == "AA"  # fmt: skip
    tell_places(far.house, far.study_id, far.places)
    deliver_all(far.house, far.places)
    numbers = [parse_message(message).first("PID").component(3) for message in far.messages]
    assert numbers == ["P-4711", "P-0816"]
    assert far.rows()["ris", "oru", 2] == (DELIVERED, "")


@pytest.mark.parametrize(
    "more", ['only_fallback = true\ncharset = "ASCII"\nlink = "http://v/ä"\nattachment = "link"\n']
)
def test_what_could_not_be_made_for_the_receiver_waits_for_a_person(far: FarEnds, tmp_path: Path) -> None:
    far.tell_and_deliver()
    assert far.rows()["ris", "oru", 1] == (DeliveryState.UNMATCHED, "not-built")
    assert far.study_state() == StudyState.DELIVERING
    config = tmp_path / "site.toml"
    config.write_text(config.read_text().replace("ä", "a"), encoding="utf-8")
    mended = destinations(load_settings(config))
    assert rematch(far.house, mended, None) == 1
    deliver_all(far.house, mended)
    assert far.rows()["ris", "oru", 1] == (DELIVERED, "") and len(far.messages) == 1


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (('fallback = "ris"', 'fallback = "rix"'), "names no destination of type hl7v2: rix"),
        (('fallback = "ris"', 'fallback = "ehr"'), "names no destination of type hl7v2: ehr"),
        (('fallback = "ris"\n', ""), "nothing can fall to 'ris'"),
        (('fallback = "ris"', 'fallback = "ris"\nwrite = "single"'), 'it needs write = "auto"'),
    ],
)
def test_settings_name_a_fallback_that_is_there(tmp_path: Path, changed: tuple[str, str], said: str) -> None:
    config = tmp_path / "site.toml"
    config.write_text(site("http://127.0.0.1:1/fhir", 1).replace(*changed), encoding="utf-8")
    with pytest.raises(ConfigurationError, match=said):
        load_settings(config)
