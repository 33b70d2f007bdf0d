"""A preview shows what leaves for a destination, byte by byte, and changes nothing but the audit log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select
from typer.testing import CliRunner

from clinical import Permanent, Transient
from hl7_fhir import check_bundle
from service.book.audit import Action, audit_entries
from service.book.database import reading
from service.book.states import StudyState
from service.book.tables import ArtefactRow, Base
from service.cli.app import build_app
from service.house import House
from service.http import create_app
from service.io_worker import destinations
from service.previewing import preview
from service.settings import load_settings
from tests.service.hospital import LISTENING, STUDY_UID, drafted, opened, received, tell_places

SITE = LISTENING + (
    '[[destinations]]\nname = "pacs"\ntype = "dicom"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = 1\n'
    'objects = ["sr", "pr", "sc"]\n'
    '[[destinations]]\nname = "ehr"\ntype = "fhir"\nbase_url = "http://127.0.0.1:1/fhir"\n'
    'issuers = { HOSP = "urn:oid:1.2.3" }\n'
    '[[destinations]]\nname = "ris"\ntype = "hl7v2"\nhost = "127.0.0.1"\nport = 1\n'
    'issuers = { HOSP = "HOSP&1.2.3&ISO" }\n'
)
LATER = (
    '[[destinations]]\nname = "later"\ntype = "hl7v2"\nhost = "127.0.0.1"\nport = 1\nversion = "2.3.1"\n'
    'issuers = { HOSP = "LATER" }\n'
    'fields = { "OBR-20" = "draft {draft_version}", "ZRD-1" = "{impression}", "ZRD-2.2" = "a|b" }\n'
    '[[destinations]]\nname = "narrow"\ntype = "hl7v2"\nhost = "127.0.0.1"\nport = 1\n'
    'issuers = { HOSP = "LATER" }\nfields = { "OBR-4.4" = "{completed_at}{completed_at}" }\n'
    '[[destinations]]\nname = "unmapped"\ntype = "fhir"\nbase_url = "http://127.0.0.1:1/fhir"\n'
    '[[destinations]]\nname = "archive"\ntype = "dicom"\nae_title = "A"\nhost = "127.0.0.1"\nobjects = ["sr"]\n'
)


@dataclass(frozen=True)
class Told:
    """An installation with a told study; its settings name more destinations since."""

    house: House
    config: Path


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    folder = tmp_path_factory.mktemp("site")
    with opened(folder, SITE) as house:
        study = received(house, folder)
        drafted(house, study, {}, state=StudyState.DRAFTED)
        tell_places(house, study, destinations(house.settings))
    with opened(folder, SITE + LATER) as house:
        yield Told(house, folder / "site.toml")


def counts(house: House) -> dict[str, int]:
    """Rows of every table, but those of the audit log."""
    with reading(house.book.engine) as session:
        tables = [table for table in Base.metadata.sorted_tables if not table.name.startswith("audit")]
        return {t.name: session.scalar(select(func.count()).select_from(t)) or 0 for t in tables}


def stored(house: House, kind: str) -> bytes:
    with reading(house.book.engine) as session:
        row = session.scalars(select(ArtefactRow).where(ArtefactRow.kind == kind)).one()
    with house.results.open(row.spool_key) as file:
        return file.read()


def test_messages_and_documents_are_shown_as_they_leave(told: Told) -> None:
    before, files = counts(told.house), sorted((told.config.parent / "data" / "results").rglob("*"))
    places = destinations(told.house.settings)
    (oru,) = preview(told.house, places, STUDY_UID, "ris").items
    assert oru.text.replace("<CR>\n", "\r").encode() == stored(told.house, "oru")
    assert oru.text.startswith("MSH|^~\\&|RADDRAFT|") and oru.state == "pending"
    (fhir,) = preview(told.house, places, STUDY_UID, "ehr").items
    assert fhir.text.encode() == stored(told.house, "fhir")
    objects = preview(told.house, places, STUDY_UID, "pacs").items
    assert {item.kind for item in objects} >= {"sr", "pr"}
    assert all(item.sop_class and item.sop_instance_uid and not item.text for item in objects)
    assert counts(told.house) == before
    assert sorted((told.config.parent / "data" / "results").rglob("*")) == files


def test_what_was_not_told_to_a_destination_is_built_as_it_would_be_and_forgotten(told: Told) -> None:
    before = counts(told.house)
    places = destinations(told.house.settings)
    (oru,) = preview(told.house, places, STUDY_UID, "later").items
    assert oru.state == "not-told" and "|2.3.1" in oru.text and "^^^LATER^MR" in oru.text
    assert "|draft 1|" in oru.text and oru.text.splitlines()[-1].startswith("ZRD|AI DRAFT, UNSIGNED: ")
    assert oru.text.endswith("|^a\\F\\b<CR>\n")
    (long,) = preview(told.house, places, STUDY_UID, "narrow").items
    assert long.state == "not-told" and not long.text and "OBR-4.4" in long.reason
    (held,) = preview(told.house, places, STUDY_UID, "unmapped").items
    assert held.state == "not-told" and not held.text and "not in the destination's issuers" in held.reason
    (report,) = preview(told.house, places, STUDY_UID, "archive").items
    assert (report.kind, report.state) == ("sr", "not-told")
    assert counts(told.house) == before


def test_there_is_nothing_to_look_at_without_a_draft_or_a_destination(told: Told, tmp_path: Path) -> None:
    places = destinations(told.house.settings)
    for study, name, code in (("9.9", "ehr", "no-such-study"), (STUDY_UID, "xx", "no-such-destination")):
        with pytest.raises(Permanent, match=code):
            preview(told.house, places, study, name)
    with opened(tmp_path, SITE) as house:
        received(house, tmp_path)
        with pytest.raises(Transient, match="study-at-work"):
            preview(house, destinations(house.settings), STUDY_UID, "ehr")


def test_the_command_prints_the_message_and_its_look_is_in_the_audit_log(told: Told) -> None:
    arguments = ["preview", STUDY_UID, "--destination", "ris", "--config", str(told.config)]
    shown = CliRunner().invoke(build_app(), arguments)
    assert shown.exit_code == 0 and "PID|1||P-4711^^^HOSP&1.2.3&ISO^MR" in shown.stdout
    whole = json.loads(CliRunner().invoke(build_app(), [*arguments, "--json"]).stdout)
    assert whole["items"][0]["kind"] == "oru"
    assert CliRunner().invoke(build_app(), [*arguments[:3], "nobody", *arguments[4:]]).exit_code == 2
    entries = audit_entries(told.house.book.engine, action=Action.VIEW)
    assert [entry.detail for entry in entries][-2:] == ["preview ris"] * 2


def test_over_http_it_is_json_for_programs_and_a_page_for_people(told: Told) -> None:
    house = told.house
    settings = load_settings(told.config).model_copy(
        update={"broker": house.settings.broker.model_copy(update={"url": "amqp://127.0.0.1:1//"})}
    )
    app = create_app(settings, house.book, spool=house.spool, results=house.results, readiness=lambda: "")
    client = TestClient(app, client=("127.0.0.1", 50000))
    found = client.get(f"/api/v1/studies/{STUDY_UID}/preview", params={"destination": "ehr"}).json()
    check_bundle(json.loads(found["items"][0]["text"]))
    for study, name in ((STUDY_UID, "nobody"), ("9.9", "ehr")):
        url = f"/api/v1/studies/{study}/preview"
        assert client.get(url, params={"destination": name}).status_code == 404
    page = client.get(f"/console/studies/{STUDY_UID}/preview", params={"destination": "ris"})
    assert page.status_code == 200 and "PID|1||P-4711" in page.text and "nothing is sent" in page.text
    assert "&lt;CR&gt;" in page.text and "<CR>" not in page.text
    assert "/preview?destination=ris" in client.get(f"/console/studies/{STUDY_UID}").text
    entries = audit_entries(house.book.engine, action=Action.VIEW)
    assert [entry.detail for entry in entries][-3:] == ["preview ehr", "preview ris", "page"]
