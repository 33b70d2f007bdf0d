"""Promises to the EHR, kept before an engine of another maker: Medplum's FHIR router, repository and validator."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from clinical import Draft, DraftOutcome, Finding, Permanent, Transient
from hl7_fhir import FhirClient, build_bundle, report_identifier
from hl7_fhir.header import LocalCode
from tests.hl7_fhir.drafts import EDEMA, EFFUSION, HEADER, PNEUMOTHORAX, PROFILE, draft
from tests.interop.fhir_engine.engine import Store
from tests.promises.installation import installation
from training.phantoms.dicom import ISSUER, VARIANTS, write_phantom

pytestmark = pytest.mark.interop

KINDS = ("Device", "ImagingStudy", "Observation", "DiagnosticReport", "Provenance")
US_CORE_NOTE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-diagnosticreport-note"
SIGNED = {"final", "amended", "corrected", "appended"}


def bundle_of(made: Draft, withdrawn: tuple[Finding, ...] = ()) -> dict[str, Any]:
    return build_bundle(made, HEADER, PROFILE, (), report_text="a draft", withdrawn=withdrawn)


def post(store: Store, bundle: dict[str, Any]) -> None:
    FhirClient(store.base_url).post(bundle)


@pytest.mark.parametrize("outcome", DraftOutcome)
def test_every_outcome_is_accepted_by_the_engine_and_its_validator(
    far_store: Store, outcome: DraftOutcome
) -> None:
    result = FhirClient(far_store.base_url).post(bundle_of(draft(outcome)))
    assert all(status.startswith("201") for status in result.entries)
    assert far_store.counts(*KINDS)["DiagnosticReport"] == 1
    assert not far_store.warnings()


def test_the_engine_refuses_what_is_no_resource(far_store: Store) -> None:
    bundle = bundle_of(draft())
    del bundle["entry"][2]["resource"]["code"]
    with pytest.raises(Permanent):
        post(far_store, bundle)


def test_the_same_bundle_twice_doubles_nothing(far_store: Store) -> None:
    bundle = bundle_of(draft())
    post(far_store, bundle)
    once = far_store.counts(*KINDS)
    assert once == {
        "Device": 1,
        "ImagingStudy": 1,
        "Observation": 2,
        "DiagnosticReport": 1,
        "Provenance": 1,
    }
    second = FhirClient(far_store.base_url).post(bundle)
    assert all(status.startswith("200") for status in second.entries)
    assert far_store.counts(*KINDS) == once


def without(bundle: dict[str, Any], name: str) -> dict[str, Any]:
    for entry in bundle["entry"]:
        if entry["resource"]["resourceType"] == "DiagnosticReport":
            del entry["resource"][name]
    return bundle


def test_a_report_that_claims_us_core_keeps_its_rules(far_store: Store) -> None:
    profile = replace(PROFILE, report_profiles=(US_CORE_NOTE,))
    for outcome in DraftOutcome:
        post(far_store, build_bundle(draft(outcome), HEADER, profile, (), report_text="a draft"))
    assert not far_store.warnings()
    # Each rule is really looked at: without the element the engine refuses, and without the claim it does not.
    for name in ("category", "subject", "effectiveDateTime"):
        claiming = build_bundle(draft(), HEADER, profile, (), report_text="a draft")
        with pytest.raises((Permanent, Transient)):
            post(far_store, without(claiming, name))
    post(far_store, without(bundle_of(draft()), "category"))


@pytest.mark.parametrize("element", ["category", "code"])
def test_us_cores_codes_are_looked_at(far_store: Store, element: str) -> None:
    profile = replace(PROFILE, report_profiles=(US_CORE_NOTE,))
    claiming = build_bundle(draft(), HEADER, profile, (), report_text="a draft")
    local: Any = {"coding": [{"system": "urn:local", "code": "1"}]}
    for entry in claiming["entry"]:
        if entry["resource"]["resourceType"] == "DiagnosticReport":
            entry["resource"][element] = [local] if element == "category" else local
    with pytest.raises((Permanent, Transient)):
        post(far_store, claiming)


def test_the_orders_own_code_stands_beside_loinc_in_a_us_core_report(far_store: Store) -> None:
    header = replace(HEADER, procedure_code=LocalCode("RXCHEST2", "99HOSP", "Chest two views"))
    profile = replace(PROFILE, report_profiles=(US_CORE_NOTE,))
    post(far_store, build_bundle(draft(), header, profile, (), report_text="a draft"))
    (report,) = far_store.search("DiagnosticReport")
    assert {each["code"] for each in report["code"]["coding"]} == {"36554-4", "RXCHEST2"}
    assert not far_store.warnings()


def test_every_element_us_core_wants_supported_is_filled_where_the_study_has_it(far_store: Store) -> None:
    fixture = json.loads((Path(__file__).parent / "fhir_engine/us_core_note.json").read_text())
    wanted = fixture["profile"]["differential"]["element"]
    profile = replace(PROFILE, report_profiles=(US_CORE_NOTE,))
    post(far_store, build_bundle(draft(), HEADER, profile, (), report_text="a draft"))
    (report,) = far_store.search("DiagnosticReport")
    must = {
        element["path"].split(".")[1].replace("[x]", "DateTime")
        for element in wanted
        if element.get("mustSupport")
    }
    # An encounter is the order's, found at the EHR; nobody has interpreted anything.
    assert must - set(report) == {"encounter", "resultsInterpreter"}


def test_the_pdf_stands_beside_the_text(far_store: Store) -> None:
    pdf = b"%PDF-1.7 a picture of a report"
    post(far_store, build_bundle(draft(), HEADER, PROFILE, (), report_text="a draft", pdf=pdf))
    (report,) = far_store.search("DiagnosticReport")
    text, picture = report["presentedForm"]
    assert base64.b64decode(text["data"]) == b"a draft"
    assert picture["contentType"] == "application/pdf"
    assert base64.b64decode(picture["data"]) == pdf
    assert picture["size"] == len(pdf)
    assert picture["title"].startswith("DRAFT, unsigned")


def test_references_inside_the_transaction_end_at_what_was_stored(far_store: Store) -> None:
    post(far_store, bundle_of(draft()))
    (report,) = far_store.search("DiagnosticReport")
    (device,) = far_store.search("Device")
    observations = {f"Observation/{o['id']}" for o in far_store.search("Observation")}
    assert {result["reference"] for result in report["result"]} == observations
    performer = report["performer"][0]["extension"][0]["valueReference"]["reference"]
    assert performer == f"Device/{device['id']}"
    assert "urn:uuid" not in json.dumps(report)


def test_version_2_updates_the_one_report_and_takes_gone_findings_back(far_store: Store) -> None:
    post(far_store, bundle_of(draft(findings=(EFFUSION, PNEUMOTHORAX))))
    (first,) = far_store.search("DiagnosticReport")
    second = draft(version=2, findings=(PNEUMOTHORAX, EDEMA))
    post(far_store, bundle_of(second, withdrawn=(EFFUSION, PNEUMOTHORAX)))
    (report,) = far_store.search("DiagnosticReport")
    assert report["id"] == first["id"]
    assert report["meta"]["versionId"] != first["meta"]["versionId"]
    by_uid = {o["identifier"][0]["value"]: o for o in far_store.search("Observation")}
    assert {uid: o["status"] for uid, o in by_uid.items()} == {
        "urn:oid:2.25.1": "entered-in-error",
        "urn:oid:2.25.2": "preliminary",
        "urn:oid:2.25.3": "preliminary",
    }
    listed = {result["reference"] for result in report["result"]}
    assert listed == {f"Observation/{by_uid[f'urn:oid:2.25.{n}']['id']}" for n in (2, 3)}
    # One Provenance for each version, for nothing else was written twice.
    assert far_store.counts("Provenance", "Device", "ImagingStudy") == {
        "Provenance": 2,
        "Device": 1,
        "ImagingStudy": 1,
    }


@pytest.mark.parametrize("outcome", DraftOutcome)
def test_no_status_is_ever_final(far_store: Store, outcome: DraftOutcome) -> None:
    post(far_store, bundle_of(draft(outcome)))
    stored = [r for kind in ("Observation", "DiagnosticReport") for r in far_store.search(kind)]
    assert stored
    assert not {resource["status"] for resource in stored} & SIGNED


def test_a_signed_report_is_left_as_it_is(far_store: Store) -> None:
    post(far_store, bundle_of(draft()))
    (report,) = far_store.search("DiagnosticReport")
    far_store.put({**report, "status": "final", "conclusion": "Read by a person."}).raise_for_status()
    (signed,) = far_store.search("DiagnosticReport")
    before = far_store.counts(*KINDS)
    with pytest.raises(Permanent, match="signed-report-exists"):
        post(far_store, bundle_of(draft(version=2)))
    assert far_store.search("DiagnosticReport") == [signed]
    assert far_store.counts(*KINDS) == before


def test_a_stale_if_match_is_answered_with_412(far_store: Store) -> None:
    post(far_store, bundle_of(draft()))
    (report,) = far_store.search("DiagnosticReport")
    stale = f'W/"{report["meta"]["versionId"]}"'
    assert far_store.put(report, **{"If-Match": stale}).status_code == 200
    assert far_store.put(report, **{"If-Match": stale}).status_code == 412


def test_two_reports_with_our_identifier_stop_the_post(far_store: Store) -> None:
    twin = {
        "resourceType": "DiagnosticReport",
        "status": "preliminary",
        "code": {"text": "somebody copied the draft"},
        "identifier": [{"system": "urn:dicom:uid", "value": report_identifier(HEADER.study_instance_uid)}],
    }
    for _ in range(2):
        assert far_store.post(twin, "/DiagnosticReport").status_code == 201
    ours = f"urn:dicom:uid|{report_identifier(HEADER.study_instance_uid)}"
    assert far_store.put_where(twin, ours).status_code == 412
    with pytest.raises(Permanent, match="several-matches"):
        post(far_store, bundle_of(draft()))
    assert far_store.counts("DiagnosticReport", "Observation") == {"DiagnosticReport": 2, "Observation": 0}


@pytest.mark.slow
def test_a_whole_service_writes_a_study_to_the_engine_and_takes_it_back(
    far_store: Store, tmp_path: Path
) -> None:
    destination = (
        f'[[destinations]]\nname = "ehr"\ntype = "fhir"\nbase_url = "{far_store.base_url}"\n'
        f'default_patient_system = "urn:ehr"\nissuers = {{ "{ISSUER}" = "urn:ehr" }}\n'
    )
    with installation(destination) as site:
        site.start()
        write_phantom(tmp_path / "phantom.dcm", 9_200_000, VARIANTS[0], size_px=512)
        image = dcmread(tmp_path / "phantom.dcm")
        registered = {
            "resourceType": "Patient",
            "identifier": [{"system": "urn:ehr", "value": str(image.PatientID)}],
            "name": [{"family": image.PatientName.family_name}],
        }
        assert far_store.post(registered, "/Patient").status_code == 201
        assert [result.outcome for result in site.send([tmp_path / "phantom.dcm"])] == ["stored"]
        site.wait_until(lambda: site.all_done(1), 240, "the study to be done")
        deliveries = site.states("deliveries")
        assert deliveries["delivered"] == sum(deliveries.values())
        (report,) = far_store.search("DiagnosticReport")
        assert report["status"] == "preliminary"
        # Each destination gets the transaction made for it: the folder beside it names patients by another system.
        assert report["subject"]["identifier"]["system"] == "urn:ehr"
        (known,) = far_store.search("Patient")
        assert report["subject"]["reference"] == f"Patient/{known['id']}"
        assert far_store.counts("Observation")["Observation"] == len(report["result"])
        assert not far_store.warnings()
        with site.book() as book:
            (study,) = book.studies()
        retract = [
            sys.executable,
            "-m",
            "raddraft",
            "retract",
            study.study_instance_uid,
            "--reason",
            "wrong side",
        ]
        for _ in range(2):
            done = subprocess.run(
                [*retract, "--config", site.config], capture_output=True, text=True, check=True, timeout=120
            )
            assert done.stdout.strip() == "taken back at ehr"
        site.wait_until(lambda: site.all_done(1), 60, "the retraction to be sent")
        assert site.states("deliveries")["delivered"] == sum(deliveries.values()) + 1
        (report,) = far_store.search("DiagnosticReport")
        assert report["status"] == "entered-in-error"
        assert report["conclusion"] == "AI DRAFT, RETRACTED: wrong side"
        assert {o["status"] for o in far_store.search("Observation")} == {"entered-in-error"}
