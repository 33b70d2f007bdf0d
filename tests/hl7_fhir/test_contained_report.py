"""The report as one resource for reporting systems: everything it speaks of is in it, as the transaction has it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from fhir.resources.R4B.diagnosticreport import DiagnosticReport
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical import (
    Box,
    DraftOutcome,
    Finding,
    GroundedBox,
    Laterality,
    Permanent,
    Presence,
    Score,
)
from hl7_fhir import FhirClient, Wanted, Way, build_bundle, contained_report
from hl7_fhir.gate import check_resource
from tests.hl7_fhir.drafts import EDEMA, EFFUSION, HEADER, PNEUMOTHORAX, PROFILE, draft, resources
from tests.hl7_fhir.scripted_server import Answer, Asked, scripted_server

Json = dict[str, Any]


def bundle_of(**made: Any) -> Json:
    return build_bundle(draft(**made), HEADER, PROFILE, (), report_text="text", withdrawn=(EDEMA,))


def inside(report: Json, kind: str) -> list[Json]:
    return [one for one in report["contained"] if one["resourceType"] == kind]


def test_a_reporting_system_gets_one_resource_that_refers_to_itself_alone() -> None:
    report = contained_report(bundle_of())
    DiagnosticReport.model_validate(report)
    assert [(one["resourceType"], one["id"]) for one in report["contained"]] == [
        ("Patient", "patient1"),
        ("Device", "device1"),
        ("DocumentReference", "model-card"),
        ("ImagingStudy", "study1"),
        ("Observation", "finding1"),
        ("Observation", "finding2"),
    ]
    assert report["status"] == "preliminary"
    assert report["subject"]["reference"] == "#patient1"
    assert report["imagingStudy"][0]["reference"] == "#study1"
    assert [one["reference"] for one in report["result"]] == ["#finding1", "#finding2"]
    assert report["performer"][0]["extension"][0]["valueReference"]["reference"] == "#device1"
    assert report["conclusion"].startswith("AI DRAFT, UNSIGNED:")
    assert report["presentedForm"][0]["data"]
    assert report["meta"]["security"][0]["code"] == "AIAST"
    (patient,) = inside(report, "Patient")
    assert patient["identifier"] == [{"system": "urn:oid:1.2.3", "value": "P1"}] and "link" not in patient
    (study,) = inside(report, "ImagingStudy")
    assert [one["value"] for one in study["identifier"]] == ["urn:oid:1.2.3.4", "A1"]
    assert {one["meta"]["tag"][0]["code"] for one in inside(report, "Observation")} == {"ai-draft-unsigned"}
    text = json.dumps(report)
    assert "urn:uuid" not in text and '"final"' not in text and "resultsInterpreter" not in text


@pytest.mark.parametrize("outcome", DraftOutcome)
def test_every_outcome_passes_the_gate_with_its_findings_inside(outcome: DraftOutcome) -> None:
    report = contained_report(bundle_of(outcome=outcome))
    assert len(inside(report, "Observation")) == len(report.get("result", []))


FINDINGS = st.builds(
    lambda label, presence, side, raw, calibrated, boxes: (label, presence, side, raw, calibrated, boxes),
    st.sampled_from([EFFUSION.label, PNEUMOTHORAX.label, EDEMA.label]),
    st.sampled_from(Presence),
    st.sampled_from(Laterality),
    st.floats(0, 1),
    st.none() | st.floats(0, 1),
    st.integers(0, 2),
)


def finding(number: int, drawn: tuple[Any, ...]) -> Finding:
    label, presence, side, raw, calibrated, boxes = drawn
    score = Score(raw, 0.5) if calibrated is None else Score(raw, 0.5, calibrated, "c")
    places = tuple(GroundedBox(Box(n, 2, n + 30, 40), 0.5) for n in range(boxes))
    return Finding(
        f"2.25.{number + 10}",
        label,
        presence,
        side,
        score=score,
        boxes=places if presence is Presence.PRESENT else (),
    )


@settings(max_examples=6, deadline=None)
@given(st.lists(FINDINGS, min_size=1, max_size=3))
def test_every_finding_is_in_the_report_as_the_transaction_has_it(drawn: list[tuple[Any, ...]]) -> None:
    bundle = bundle_of(findings=tuple(finding(number, one) for number, one in enumerate(drawn)))
    report = contained_report(bundle)
    told = {f"#{one['id']}": one for one in inside(report, "Observation")}
    assert [one["reference"] for one in report["result"]] == list(told)
    current = [one for one in resources(bundle, "Observation") if one["status"] == "preliminary"]
    assert len(current) == len(drawn)
    kept = ("identifier", "status", "code", "valueCodeableConcept", "interpretation", "bodySite", "component")
    for theirs, ours in zip(told.values(), current, strict=True):
        for element in (*kept, "extension", "note", "effectiveDateTime", "issued"):
            assert theirs.get(element) == ours.get(element)


@pytest.fixture(scope="module")
def whole() -> Json:
    return contained_report(bundle_of(findings=(PNEUMOTHORAX,)))


def change(kind: str, **elements: Any) -> Callable[[Json], None]:
    return lambda report: inside(report, kind)[0].update(elements)


@pytest.mark.parametrize(
    ("rule", "broken"),
    [
        ("dom-2", change("Device", contained=[{"resourceType": "Patient", "id": "p"}])),
        ("dom-3", lambda r: r["contained"].append({"resourceType": "Patient", "id": "nobody"})),
        ("dom-4", change("Observation", meta={"versionId": "1"})),
        ("dom-5", change("Observation", meta={"security": [{"code": "AIAST"}]})),
        ("ref-1", lambda r: r["result"].append({"reference": "#finding9"})),
        ("reference-target", lambda r: r["result"].append({"reference": "#device1"})),
        ("draft-status", change("Observation", status="final")),
        ("schema-enum", change("Patient", gender="Doe")),
        ("schema-required", lambda r: inside(r, "Observation")[0].pop("code")),
        ("ai-label", lambda r: r["meta"].pop("security")),
    ],
)
def test_the_gate_looks_into_what_is_contained(
    whole: Json, rule: str, broken: Callable[[Json], None]
) -> None:
    report = copy.deepcopy(whole)
    broken(report)
    with pytest.raises(Permanent, match=f"breaks {rule}") as caught:
        check_resource(report)
    assert "Doe" not in str(caught.value)


def offering(interactions: list[str]) -> Callable[[Asked], Answer]:
    kinds = ("DiagnosticReport", "Patient", "ServiceRequest")
    listed = [{"type": kind, "interaction": [{"code": code} for code in interactions]} for kind in kinds]
    rest = {"mode": "server", "resource": [{**one, "conditionalCreate": True} for one in listed]}

    def answer(asked: Asked) -> Answer:
        if asked.path.endswith("/metadata"):
            return 200, {"rest": [rest]}
        if "/Patient?" in asked.path:
            known = {"system": "urn:oid:1.2.3", "value": "P1"}
            patient = {"resourceType": "Patient", "id": "7", "identifier": [known]}
            return 200, {"entry": [{"resource": patient}]}
        return (200, {"entry": []}) if asked.method == "GET" else (201, {"id": "1", **json.loads(asked.body)})

    return answer


def test_one_resource_is_posted_with_the_patient_that_was_found_as_its_link() -> None:
    with scripted_server(offering(["create", "update", "search-type"])) as far:
        result = FhirClient(far.base_url, way=Way.REPORT, matching=True).post(bundle_of(), Wanted())
    assert (result.way, result.entries) == (Way.REPORT, ("201",))
    (posted,) = [one for one in far.asked if one.method != "GET"]
    assert (posted.method, posted.path) == ("POST", "/fhir/DiagnosticReport")
    report = json.loads(posted.body)
    assert posted.headers["if-none-exist"] == f"identifier=urn:dicom:uid%7C{report['identifier'][0]['value']}"
    (patient,) = inside(report, "Patient")
    assert patient["link"] == [{"other": {"reference": "Patient/7", "type": "Patient"}, "type": "refer"}]
    assert patient["identifier"] == [{"system": "urn:oid:1.2.3", "value": "P1"}]


def test_a_server_whose_signed_reports_cannot_be_found_gets_nothing() -> None:
    with scripted_server(offering(["create", "update"])) as far, pytest.raises(Permanent, match="no-way-to"):
        FhirClient(far.base_url, way=Way.REPORT).post(bundle_of())
    assert [one.path for one in far.asked] == ["/fhir/metadata"]
