"""What a person signs at another maker's FHIR engine closes the draft of that study and that patient, and no other."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from clinical import Permanent
from hl7_fhir import FhirClient, FhirProfile
from service.book.audit import Action, Subject, audit_entries
from service.book.final_reports import agreement
from service.book.states import DeliveryState, StudyState
from service.clock import now_utc
from service.house import House
from service.report_watch import ReportWatch
from tests.hl7_fhir.scripted_server import Answer, Asked, scripted_server
from tests.interop.fhir_engine.engine import Store
from tests.interop.test_fhir_matching import add
from tests.service.hospital import ACCESSION, PATIENT_ID, STUDY_UID, drafted, opened, received, state_of

pytestmark = pytest.mark.interop

PENDING, SUPERSEDED = DeliveryState.PENDING, DeliveryState.SUPERSEDED
NAMING = FhirProfile(issuers={"HOSP": "urn:oid:1.2.3"}, accession_system="urn:oid:1.2.4")
RADIOLOGY = [{"coding": [{"system": "http://loinc.org", "code": "LP29684-5"}]}]
WORDS = "Right pleural effusion. No pneumothorax."


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with opened(tmp_path) as site:
        yield site


def watch(house: House, store: Store) -> ReportWatch:
    return ReportWatch(house, "ehr", NAMING, FhirClient(store.base_url).signed_reports)


def patient(store: Store, value: str = PATIENT_ID, system: str = "urn:oid:1.2.3") -> dict[str, str]:
    known = add(store, {"resourceType": "Patient", "identifier": [{"system": system, "value": value}]})
    return {"reference": f"Patient/{known['id']}"}


def order(store: Store, subject: dict[str, str], accession: str = ACCESSION) -> dict[str, str]:
    identifier = [{"system": NAMING.accession_system, "value": accession}]
    request = {"resourceType": "ServiceRequest", "status": "active", "intent": "order", "subject": subject}
    known = add(store, {**request, "identifier": identifier})
    return {"reference": f"ServiceRequest/{known['id']}"}


def report(store: Store, subject: dict[str, str], **more: Any) -> dict[str, Any]:
    form = {"contentType": "text/plain", "data": base64.b64encode(WORDS.encode()).decode()}
    made = {
        "resourceType": "DiagnosticReport",
        "status": "final",
        "category": RADIOLOGY,
        "code": {"text": "XR Chest"},
        "subject": subject,
        "presentedForm": [form],
        **more,
    }
    return add(store, {name: value for name, value in made.items() if value is not None})


def test_a_signed_report_closes_the_study_once_and_is_compared_with_its_draft(
    house: House, tmp_path: Path, far_store: Store
) -> None:
    study = received(house, tmp_path)
    (waiting,) = drafted(house, study, {"a": PENDING})
    subject = patient(far_store)
    signed = report(far_store, subject, basedOn=[order(far_store, subject)])
    with capture_logs() as logs:
        assert watch(house, far_store).look() == Counter(closed=1)
        assert watch(house, far_store).look() == Counter(duplicate=1)
    assert state_of(house, waiting) == (SUPERSEDED, "report-signed")
    detail = house.book.study(STUDY_UID)
    assert detail is not None and detail.final_report is not None
    assert (detail.summary.state, detail.final_report.status) == (StudyState.DONE, "F")
    assert agreement(house.book.engine)["Pleural Effusion"]
    (event,) = audit_entries(house.book.engine, action=Action.SIGN, subject=Subject.STUDY, subject_id=study)
    assert event.actor == "fhir:ehr"
    assert not any(word in str(logs) for word in ("effusion", PATIENT_ID, ACCESSION, STUDY_UID))
    # Changed after it was final: its figures take the place of the first ones.
    far_store.put({**signed, "status": "amended", "conclusion": "No effusion."})
    assert watch(house, far_store).look()["closed"] == 1
    detail = house.book.study(STUDY_UID)
    assert detail is not None and detail.final_report is not None and detail.final_report.status == "C"


def _another_number(store: Store) -> None:
    subject = patient(store, "P-9")
    report(store, subject, basedOn=[order(store, subject)])


def _another_authority(store: Store) -> None:
    subject = patient(store, system="urn:oid:9.9.9")
    report(store, subject, basedOn=[order(store, subject)])


def _nobody(store: Store) -> None:
    report(store, {"display": "somebody"}, basedOn=[order(store, patient(store))])


def _another_order(store: Store) -> None:
    subject = patient(store)
    report(store, subject, basedOn=[order(store, subject, "ACC-2")])


def _not_signed(store: Store) -> None:
    subject = patient(store)
    report(store, subject, basedOn=[order(store, subject)], status="preliminary")


def _of_the_laboratory(store: Store) -> None:
    subject = patient(store)
    report(store, subject, basedOn=[order(store, subject)], category=[{"coding": [{"code": "LAB"}]}])


def _of_a_machine(store: Store) -> None:
    subject = patient(store)
    marks = [{"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "AIAST"}]
    report(store, subject, basedOn=[order(store, subject)], meta={"security": marks})


def _accession_of_another_system(store: Store) -> None:
    report(store, patient(store), identifier=[{"system": "urn:oid:7.7", "value": ACCESSION}])


@pytest.mark.parametrize(
    "told",
    [
        _another_number,
        _another_authority,
        _nobody,
        _another_order,
        _not_signed,
        _of_the_laboratory,
        _of_a_machine,
        _accession_of_another_system,
    ],
)
def test_no_other_report_closes_a_study(house: House, tmp_path: Path, far_store: Store, told: Any) -> None:
    (waiting,) = drafted(house, received(house, tmp_path), {"a": PENDING})
    told(far_store)
    assert watch(house, far_store).look()["closed"] == 0
    assert state_of(house, waiting)[0] == PENDING


def test_a_report_is_found_by_the_study_it_reports_and_by_its_own_accession_number(
    house: House, tmp_path: Path, far_store: Store
) -> None:
    subject = patient(far_store)
    by_uid = received(house, tmp_path, accession="")
    by_number = received(house, tmp_path, study_uid="1.2.3.5", accession="ACC-5")
    deliveries = [drafted(house, study, {"a": PENDING})[0] for study in (by_uid, by_number)]
    uid = {"system": "urn:dicom:uid", "value": f"urn:oid:{STUDY_UID}"}
    report(far_store, subject, imagingStudy=[{"identifier": uid}])
    report(far_store, subject, identifier=[{"system": NAMING.accession_system, "value": "ACC-5"}])
    assert watch(house, far_store).look() == Counter(closed=2)
    assert [state_of(house, one)[0] for one in deliveries] == [SUPERSEDED] * 2


def test_every_page_is_read_and_a_look_begins_where_the_last_one_ended(
    house: House, tmp_path: Path, far_store: Store
) -> None:
    subject = patient(far_store)
    for number in range(60):
        identifier = [{"system": NAMING.accession_system, "value": f"N-{number}"}]
        report(far_store, subject, identifier=identifier, presentedForm=None)
    assert watch(house, far_store).look() == Counter({"no-such-study": 60})
    since = now_utc() - timedelta(minutes=5)
    assert len(list(FhirClient(far_store.base_url).signed_reports(since))) == 60
    assert not list(FhirClient(far_store.base_url).signed_reports(now_utc() + timedelta(minutes=5)))


def test_pages_are_followed_on_the_same_server_only() -> None:
    base = ""

    def answer(asked: Asked) -> Answer:
        at = {"id": "a", "meta": {"lastUpdated": "2026-01-02T03:04:05Z"}}
        if "page=2" in asked.path:
            entry = {"resource": {"resourceType": "DiagnosticReport", "status": "final", **at, "id": "b"}}
            link = [{"relation": "next", "url": "http://elsewhere.example/fhir?page=3"}]
            return 200, {"resourceType": "Bundle", "entry": [entry], "link": link}
        entry = {"resource": {"resourceType": "DiagnosticReport", "status": "final", **at}}
        link = [{"relation": "next", "url": f"{base}?page=2"}]
        return 200, {"resourceType": "Bundle", "entry": [entry], "link": link}

    with scripted_server(answer) as server:
        base = server.base_url
        found = FhirClient(base).signed_reports(datetime(2026, 1, 1, tzinfo=UTC))
        assert [next(found).version, next(found).version] == [
            "a/2026-01-02T03:04:05Z",
            "b/2026-01-02T03:04:05Z",
        ]
        with pytest.raises(Permanent, match="page-elsewhere"):
            next(found)
