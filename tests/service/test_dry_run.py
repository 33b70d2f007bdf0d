"""A destination that is tried out is sent nothing, whatever is told, retracted or resent; it can all go afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import select

from hl7_fhir.v2 import parse_message
from service.book.database import reading, writing
from service.book.resending import DeliveryQuery, resend
from service.book.states import DeliveryState, StudyState
from service.book.tables import ArtefactRow, DeliveryAttemptRow, DeliveryRow, StudyRow
from service.clock import now_utc
from service.house import House
from service.io_worker import destinations
from service.retracting import retract_study
from service.settings import ConfigurationError, load_settings
from tests.hl7_fhir.scripted_server import Asked, ScriptedServer, scripted_server
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

WOULD_SEND, DELIVERED = DeliveryState.WOULD_SEND, DeliveryState.DELIVERED


@dataclass(frozen=True)
class Site:
    """An installation with a drafted study, and the far ends that must hear nothing."""

    house: House
    study_id: int
    folder: Path
    fhir: ScriptedServer
    messages: list[bytes]

    def tell_and_deliver(self, *, dry: bool) -> None:
        tell_places(self.house, self.study_id, destinations(self.house.settings))
        self.deliver(dry=dry)

    def deliver(self, *, dry: bool) -> None:
        """Deliver what is due, with the settings as they are or with every dry run off."""
        settings = self.house.settings
        if not dry:
            real = tuple(entry.model_copy(update={"dry_run": False}) for entry in settings.destinations)
            settings = settings.model_copy(update={"destinations": real})
        deliver_all(self.house, destinations(settings))

    def resend(self, name: str) -> int:
        query = DeliveryQuery(destination=name)
        return resend(self.house.book.engine, query, actor="user:tester", now=now_utc())

    def states(self) -> dict[str, set[str]]:
        with reading(self.house.book.engine) as session:
            rows = session.scalars(select(DeliveryRow)).all()
            return {name: {r.state for r in rows if r.destination == name} for name in ("ehr", "ris", "out")}


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, list[bytes]]]:
    with opened(tmp_path_factory.mktemp("hospital"), LISTENING) as there, hearing(there) as heard:
        yield heard


@pytest.fixture
def site(tmp_path: Path, hospital: tuple[int, list[bytes]]) -> Iterator[Site]:
    port, messages = hospital
    messages.clear()
    folder = tmp_path / "out"

    def answer(asked: Asked) -> tuple[int, object]:
        return 500, {}

    with scripted_server(answer) as server:
        settings = (
            f'{LISTENING}[[destinations]]\nname = "ehr"\ntype = "fhir"\nbase_url = "{server.base_url}"\n'
            'dry_run = true\nissuers = { HOSP = "urn:oid:1.2.3" }\n'
            f'[[destinations]]\nname = "ris"\ntype = "hl7v2"\nhost = "127.0.0.1"\nport = {port}\ndry_run = true\n'
            'issuers = { HOSP = "HOSP&1.2.3&ISO" }\n'
            f'[[destinations]]\nname = "out"\ntype = "folder"\npath = "{folder}"\ndry_run = true\n'
            'issuers = { HOSP = "urn:oid:1.2.3" }\n'
        )
        with opened(tmp_path, settings) as house:
            study = received(house, tmp_path)
            drafted(house, study, {}, state=StudyState.DRAFTED)
            yield Site(house, study, folder, server, messages)


def test_everything_is_built_checked_and_logged_and_nothing_leaves(site: Site) -> None:
    site.tell_and_deliver(dry=True)
    assert site.states() == {"ehr": {WOULD_SEND}, "ris": {WOULD_SEND}, "out": {WOULD_SEND}}
    with reading(site.house.book.engine) as session:
        logged = session.scalars(select(DeliveryAttemptRow.state)).all()
        assert (
            set(logged) == {WOULD_SEND} and session.scalars(select(StudyRow.state)).one() == StudyState.DONE
        )
    assert site.house.book.retry(actor="user:tester") == 0
    # What never left is not taken back.
    assert retract_study(site.house, STUDY_UID, "wrong side", actor="user:tester") == []
    assert site.resend("ris") == 0
    assert not site.fhir.asked and not site.messages and not site.folder.exists()


def test_what_was_tried_out_is_sent_once_the_dry_run_is_over(site: Site) -> None:
    site.tell_and_deliver(dry=True)
    assert site.resend("ris") == 1
    site.deliver(dry=False)
    assert site.states()["ris"] == {DELIVERED} and len(site.messages) == 1
    assert retract_study(site.house, STUDY_UID, "wrong side", actor="user:tester") == ["ris"]


def test_a_dry_run_of_what_was_delivered_leaves_it_delivered_and_to_be_taken_back(site: Site) -> None:
    tell_places(site.house, site.study_id, destinations(site.house.settings))
    with writing(site.house.book.engine) as session:
        row = session.scalars(select(DeliveryRow).where(DeliveryRow.destination == "ris")).one()
        row.state, row.attempts, row.delivered_at_utc = DELIVERED, 1, now_utc()
    assert site.resend("ris") == 1
    site.deliver(dry=True)
    assert site.states()["ris"] == {DELIVERED} and not site.messages
    assert retract_study(site.house, STUDY_UID, "wrong side", actor="user:tester") == ["ris"]


def test_what_would_not_leave_a_real_destination_is_refused_in_a_dry_run_too(site: Site) -> None:
    tell_places(site.house, site.study_id, destinations(site.house.settings))
    with writing(site.house.book.engine) as session:
        made = session.scalars(select(ArtefactRow).where(ArtefactRow.destination == "ehr")).one()
        with site.house.results.open(made.spool_key) as file:
            bundle = json.loads(file.read())
        for entry in bundle["entry"]:
            if entry["resource"]["resourceType"] == "DiagnosticReport":
                entry["resource"]["status"] = "final"
        broken = site.house.results.put(json.dumps(bundle).encode())
        made.spool_key, made.file_sha256 = broken.key, broken.digest
    site.deliver(dry=True)
    with reading(site.house.book.engine) as session:
        row = session.scalars(select(DeliveryRow).where(DeliveryRow.destination == "ehr")).one()
        assert (row.state, row.reason_code) == (DeliveryState.REFUSED, "fhir-invalid")


def test_a_patient_merged_after_the_dry_run_has_the_surviving_number_in_what_is_sent(site: Site) -> None:
    site.tell_and_deliver(dry=True)
    assert answer_code(site.house, a40()) == "AA"
    site.tell_and_deliver(dry=True)
    assert site.resend("ris") == 1
    site.deliver(dry=False)
    assert [parse_message(each).first("PID").component(3) for each in site.messages] == ["P-0815"]


def test_audit_events_need_a_destination_that_is_sent_to(tmp_path: Path) -> None:
    config = tmp_path / "site.toml"
    config.write_text(
        '[audit]\ndestination = "ehr"\n[[destinations]]\nname = "ehr"\ntype = "fhir"\ndry_run = true\n'
        'base_url = "http://127.0.0.1:1/fhir"\n',
        encoding="utf-8",
    )
    with pytest.raises(ConfigurationError, match="dry_run"):
        load_settings(config)
