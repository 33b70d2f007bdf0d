"""A held report leaves once the site has mapped the patient's issuer, and not before."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from sqlalchemy import select, update

from clinical import draft_to_json
from service.book.database import reading, writing
from service.book.reconciling import reconcile_queue
from service.book.resending import DeliveryQuery, hold, release
from service.book.states import DeliveryState, InstanceState, StudyState
from service.book.study_holds import hold_new
from service.book.tables import ArtefactRow, DeliveryRow, InstanceRow, StudyRow
from service.clock import now_utc
from service.house import House, open_house
from service.io_worker import destinations
from service.rematching import rematch
from service.settings import load_settings
from tests.hl7_fhir.drafts import draft
from tests.service.arrivals import arrive
from tests.service.told_results import artefact_row, draft_row, unbuilt_delivery_row
from training.phantoms.dicom import ISSUER, VARIANTS, write_phantom


@pytest.fixture
def house(tmp_path: Path) -> House:
    """A study with one image of an issuer nobody has mapped, told to an EHR that holds it back."""
    house = opened(tmp_path, "ELSEWHERE")
    write_phantom(tmp_path / "phantom.dcm", 1, VARIANTS[0], size_px=64)
    made = draft()
    image = made.readings[0].image.sop_instance_uid
    content = (tmp_path / "phantom.dcm").read_bytes()
    study_uid = made.study_instance_uid
    arrive(house.book.engine, house.spool, content, sop_instance_uid=image, study_instance_uid=study_uid)
    with writing(house.book.engine) as session:
        study = session.scalars(select(StudyRow)).one()
        study.state = StudyState.DELIVERING
        session.execute(update(InstanceRow).values(state=InstanceState.ANALYSED))
        row = draft_row(session, study.id, draft_json=draft_to_json(made))
        words = house.results.put(b"AI DRAFT\nIndication (from the order): Cough\n")
        artefact_row(session, row.id, "report", words)
        unbuilt_delivery_row(session, row.id, "fhir", "ehr", DeliveryState.UNMATCHED)
    return house


def opened(folder: Path, issuer: str) -> House:
    config = folder / "site.toml"
    config.write_text(
        f'data_dir = "{folder / "data"}"\n[[destinations]]\nname = "ehr"\ntype = "fhir"\n'
        f'base_url = "http://127.0.0.1:1/fhir"\nissuers = {{ "{issuer}" = "urn:oid:1.2.3" }}\n',
        encoding="utf-8",
    )
    return open_house(load_settings(config))


def delivery(house: House) -> tuple[str, int | None]:
    with reading(house.book.engine) as session:
        row = session.scalars(select(DeliveryRow)).one()
        return row.state, row.artefact_id


def test_a_held_report_is_never_put_back_without_its_patient(house: House) -> None:
    assert house.book.retry(actor="user:tester") == 0
    assert rematch(house, destinations(house.settings), None) == 0
    assert delivery(house) == (DeliveryState.UNMATCHED, None)


def test_a_mapped_issuer_releases_the_report_once(house: House, tmp_path: Path) -> None:
    mapped = opened(tmp_path, ISSUER)
    places = destinations(mapped.settings)
    assert rematch(mapped, places, "1.2.3.4") == 1
    assert rematch(mapped, places, None) == 0
    state, artefact_id = delivery(mapped)
    assert state == DeliveryState.PENDING
    with reading(mapped.book.engine) as session:
        artefact = session.get(ArtefactRow, artefact_id)
        assert artefact is not None
        built = select(ArtefactRow).where(ArtefactRow.kind != "report")
        assert session.scalars(built).one().id == artefact_id
        with mapped.results.open(artefact.spool_key) as file:
            bundle = json.loads(file.read())
    (report,) = [
        e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == "DiagnosticReport"
    ]
    assert report["subject"]["identifier"]["system"] == "urn:oid:1.2.3"
    # The words it was told with, whatever an order has said since.
    words = base64.b64decode(report["presentedForm"][0]["data"]).decode()
    assert words == "AI DRAFT\nIndication (from the order): Cough\n"


def test_a_held_study_s_report_without_a_patient_still_waits_for_its_patient_first(
    house: House, tmp_path: Path
) -> None:
    engine = house.book.engine
    study_uid = draft().study_instance_uid
    hold(engine, DeliveryQuery(study_uid), actor="user:tester", now=now_utc())
    with writing(engine) as session:
        hold_new(session.scalars(select(StudyRow)).one(), session.scalars(select(DeliveryRow)).all())
    assert delivery(house) == (DeliveryState.UNMATCHED, None)
    assert [item.state for item in reconcile_queue(engine, [])] == ["unmatched"]
    mapped = opened(tmp_path, ISSUER)
    assert rematch(mapped, destinations(mapped.settings), None) == 1
    state, artefact_id = delivery(mapped)
    assert state == DeliveryState.HELD and artefact_id is not None
    assert release(engine, DeliveryQuery(study_uid), actor="user:tester", now=now_utc()) == 1
    assert delivery(mapped) == (DeliveryState.PENDING, artefact_id)
