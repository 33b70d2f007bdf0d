"""The send gate: nothing that breaks a rule of FHIR 4.0.1 or of this house leaves."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from fhir.resources.R4B.bundle import Bundle
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical import DraftOutcome, Permanent
from hl7_fhir import FhirClient, PatientUnmatched, StudyHeader, build_bundle
from hl7_fhir.gate import check_bundle, check_resource
from hl7_fhir.header import LocalCode
from tests.hl7_fhir.drafts import HEADER, PROFILE, draft, resources
from tests.hl7_fhir.scripted_server import scripted_server

Json = dict[str, Any]
SECRET = "Doe^Jane"


def good() -> Json:
    return copy.deepcopy(build_bundle(draft(), HEADER, PROFILE, (), report_text="text"))


def broken(change: Callable[[Json], object]) -> str:
    bundle = good()
    change(bundle)
    with pytest.raises(Permanent) as caught:
        check_bundle(bundle)
    assert caught.value.code == "fhir-invalid"
    return caught.value.message


def first(bundle: Json, kind: str) -> Json:
    return resources(bundle, kind)[0]


def attachment_of_card(bundle: Json) -> Json:
    card: Json = first(bundle, "Device")["contained"][0]
    attachment: Json = card["content"][0]["attachment"]
    return attachment


@pytest.mark.parametrize("outcome", DraftOutcome)
def test_what_the_house_builds_passes(outcome: DraftOutcome) -> None:
    bundle = build_bundle(draft(outcome), HEADER, PROFILE, (), report_text="text")
    check_bundle(bundle)
    Bundle.model_validate(bundle)


@settings(max_examples=25, deadline=None)
@given(*[st.text(st.characters(exclude_categories=["Cs"]), max_size=20)] * 6)
def test_whatever_the_header_holds_the_bundle_keeps_the_rules(
    patient_id: str, accession: str, description: str, modality: str, code: str, scheme: str
) -> None:
    header = StudyHeader(
        "1.2.3.4",
        patient_id=f"P{patient_id}",
        accession_number=accession,
        modality=modality,
        study_description=description,
        procedure_code=LocalCode(code, scheme, description),
    )
    try:
        bundle = build_bundle(draft(), header, PROFILE, (), report_text=description)
    except PatientUnmatched:
        assert not header.patient_id.isprintable()
        return
    check_bundle(bundle)


@pytest.mark.parametrize(
    ("kind", "rule", "change"),
    [
        ("Observation", "schema-enum", lambda b: first(b, "Observation").update(status="draft")),
        ("Observation", "schema-required", lambda b: first(b, "Observation").pop("code")),
        ("Observation", "schema-required", lambda b: first(b, "Observation").pop("status")),
        ("Observation", "schema-additionalProperties", lambda b: first(b, "Observation").update(name=SECRET)),
        ("Observation", "schema-pattern", lambda b: first(b, "Observation").update(issued="yesterday")),
        ("Observation", "schema-minItems", lambda b: first(b, "Observation").update(note=[])),
        (
            "Observation",
            "obs-6",
            lambda b: first(b, "Observation").update(dataAbsentReason={"text": SECRET}),
        ),
        (
            "Observation",
            "obs-7",
            lambda b: first(b, "Observation")["component"].append({"code": first(b, "Observation")["code"]}),
        ),
        (
            "Observation",
            "obs-3",
            lambda b: first(b, "Observation").update(referenceRange=[{"appliesTo": [{"text": SECRET}]}]),
        ),
        (
            "Observation",
            "qty-3",
            lambda b: first(b, "Observation")["component"][0]["valueQuantity"].pop("system"),
        ),
        (
            "Observation",
            "ext-1",
            lambda b: first(b, "Observation").update(extension=[{"url": "urn:x"}]),
        ),
        ("Observation", "ele-1", lambda b: first(b, "Observation").update(method={})),
        (
            "DiagnosticReport",
            "ele-1",
            lambda b: first(b, "DiagnosticReport")["presentedForm"][0].update(data=""),
        ),
        (
            "DiagnosticReport",
            "per-1",
            lambda b: (
                first(b, "DiagnosticReport").pop("effectiveDateTime"),
                first(b, "DiagnosticReport").update(
                    effectivePeriod={"start": "2026-02-02", "end": "2026-01-01"}
                ),
            ),
        ),
        (
            "DiagnosticReport",
            "att-1",
            lambda b: first(b, "DiagnosticReport")["presentedForm"][0].pop("contentType"),
        ),
        (
            "DiagnosticReport",
            "ref-1",
            lambda b: first(b, "DiagnosticReport").update(subject={"reference": "#nobody"}),
        ),
        (
            "DiagnosticReport",
            "reference-target",
            lambda b: first(b, "DiagnosticReport").update(
                performer=[{"reference": b["entry"][0]["fullUrl"], "type": "Device"}]
            ),
        ),
        (
            "DiagnosticReport",
            "dangling-reference",
            lambda b: first(b, "DiagnosticReport")["result"].append({"reference": "urn:uuid:nothing"}),
        ),
        ("Device", "dom-3", lambda b: first(b, "Device").pop("extension")),
        (
            "DocumentReference",
            "schema-enum",
            lambda b: first(b, "Device")["contained"][0].update(status=SECRET),
        ),
        ("DocumentReference", "att-1", lambda b: attachment_of_card(b).pop("contentType")),
        ("Bundle", "bdl-3", lambda b: b["entry"][0].pop("request")),
        ("Bundle", "bdl-7", lambda b: b["entry"].append(b["entry"][0])),
        ("Provenance", "schema-required", lambda b: first(b, "Provenance").pop("agent")),
        (
            "Patient",
            "not-a-type-that-is-sent",
            lambda b: b["entry"][0].update(resource={"resourceType": "Patient"}),
        ),
        ("DiagnosticReport", "draft-status", lambda b: first(b, "DiagnosticReport").update(status="final")),
        ("Observation", "draft-status", lambda b: first(b, "Observation").update(status="final")),
        (
            "DiagnosticReport",
            "no-human-interpreter",
            lambda b: first(b, "DiagnosticReport").update(resultsInterpreter=[{"display": SECRET}]),
        ),
        ("DiagnosticReport", "ai-label", lambda b: first(b, "DiagnosticReport")["meta"].pop("security")),
    ],
)
def test_each_broken_rule_is_named_and_nothing_else_is_told(
    kind: str, rule: str, change: Callable[[Json], object]
) -> None:
    message = broken(change)
    assert kind in message
    assert rule in message
    assert SECRET not in message
    assert "P1" not in message


def test_a_broken_transaction_never_reaches_the_network() -> None:
    bundle = good()
    first(bundle, "DiagnosticReport")["status"] = "final"
    with (
        scripted_server(lambda asked: (200, {})) as server,
        pytest.raises(Permanent, match="draft-status"),
    ):
        FhirClient(server.base_url).post(bundle)
    assert not server.asked


def test_a_resource_on_its_own_is_checked_the_same_way() -> None:
    observation = first(good(), "Observation")
    for name in ("device", "derivedFrom", "partOf", "performer"):
        observation.pop(name)
    check_resource(observation)
    with pytest.raises(Permanent, match="schema-enum"):
        check_resource({**observation, "status": "x"})
