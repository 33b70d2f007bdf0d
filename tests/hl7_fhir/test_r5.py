"""The R5 transaction: renamed elements, boxes as ImagingSelections, and the rules of this house."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from fhir.resources.bundle import Bundle

from clinical import Box, DraftOutcome, GroundedBox, Permanent
from hl7_fhir import FhirClient, build_bundle, check_bundle, retraction_of
from tests.hl7_fhir.drafts import EDEMA, EFFUSION, HEADER, NOW, PNEUMOTHORAX, PROFILE, draft, resources
from tests.hl7_fhir.scripted_server import Answer, Asked, scripted_server

Json = dict[str, Any]
R5 = replace(PROFILE, fhir_version="5.0")


def bundle_of(**more: Any) -> dict[str, Any]:
    return build_bundle(more.pop("made", None) or draft(), HEADER, R5, (), report_text="text", **more)


@pytest.mark.parametrize("outcome", DraftOutcome)
def test_every_outcome_is_r5_and_passes_the_gate(outcome: DraftOutcome) -> None:
    bundle = bundle_of(made=draft(outcome), pdf=b"%PDF-1.7")
    Bundle.model_validate(bundle)
    check_bundle(bundle, "5.0")
    with pytest.raises(Permanent):
        check_bundle(bundle)


def test_a_box_is_an_imaging_selection_of_its_image_that_the_finding_is_derived_from() -> None:
    bundle = bundle_of()
    (selection,) = resources(bundle, "ImagingSelection")
    (instance,) = selection["instance"]
    image = draft().readings[0].image
    assert (selection["studyUid"], selection["seriesUid"], instance["uid"]) == (
        HEADER.study_instance_uid,
        image.series_instance_uid,
        image.sop_instance_uid,
    )
    # The same closed polyline as in the Structured Report.
    assert instance["imageRegion2D"] == [
        {"regionType": "polyline", "coordinate": [1, 2, 30, 2, 30, 40, 1, 40, 1, 2]}
    ]
    urls = {e["fullUrl"] for e in bundle["entry"] if e["resource"]["resourceType"] == "ImagingSelection"}
    effusion, pneumothorax = resources(bundle, "Observation")
    assert urls <= {each["reference"] for each in effusion["derivedFrom"]}
    assert not urls & {each["reference"] for each in pneumothorax["derivedFrom"]}
    # Told once: no component repeats the region, the score stays.
    codes = {c["code"].get("coding", [{}])[0].get("code") for c in effusion["component"]}
    assert "111030" not in codes and "111012" in codes


def test_several_boxes_of_a_finding_are_regions_of_one_selection() -> None:
    twice = replace(EDEMA, boxes=(GroundedBox(Box(1, 2, 3, 4)), GroundedBox(Box(5, 6, 7, 8))))
    (selection,) = resources(bundle_of(made=draft(findings=(twice,))), "ImagingSelection")
    assert len(selection["instance"][0]["imageRegion2D"]) == 2


def test_a_finding_that_is_gone_takes_its_selection_with_it() -> None:
    first = bundle_of()
    second = bundle_of(made=draft(version=2, findings=(PNEUMOTHORAX,)), withdrawn=(EFFUSION, PNEUMOTHORAX))
    (before,), (after,) = (resources(b, "ImagingSelection") for b in (first, second))
    assert before["identifier"] == after["identifier"]
    assert (before["status"], after["status"]) == ("available", "entered-in-error")


def test_a_retraction_takes_selections_back_too() -> None:
    taken_back = retraction_of(bundle_of(), NOW, "wrong")
    check_bundle(taken_back, "5.0")
    assert {r["status"] for r in resources(taken_back, "ImagingSelection")} == {"entered-in-error"}
    assert {r["status"] for r in resources(taken_back, "DiagnosticReport")} == {"entered-in-error"}


def test_the_gate_refuses_an_r5_report_that_is_final_or_unlabelled() -> None:
    for name, value in (("status", "final"), ("meta", {})):
        bundle = bundle_of()
        resources(bundle, "DiagnosticReport")[0][name] = value
        with pytest.raises(Permanent, match="fhir-invalid"):
            check_bundle(bundle, "5.0")


@pytest.mark.parametrize(
    ("kind", "rule", "change"),
    [
        (
            "ImagingSelection",
            "schema-enum",
            lambda r: r["instance"][0]["imageRegion2D"][0].update(regionType="box"),
        ),
        (
            "ImagingSelection",
            "schema-required",
            lambda r: r["instance"][0]["imageRegion2D"][0].pop("coordinate"),
        ),
        ("ImagingSelection", "schema-enum", lambda r: r.update(status="draft")),
        (
            "ImagingSelection",
            "reference-target",
            lambda r: r["derivedFrom"].append({"reference": "Patient/1"}),
        ),
        ("Observation", "schema-enum", lambda r: r.update(status="draft")),
        ("Observation", "obs-6", lambda r: r.update(dataAbsentReason={"text": "none"})),
        ("Observation", "obs-8", lambda r: r.update(bodySite={"text": "x"}, bodyStructure={"display": "x"})),
        ("Observation", "dangling-reference", lambda r: r["derivedFrom"].append({"reference": "urn:uuid:x"})),
        ("Observation", "ref-2", lambda r: r["derivedFrom"].append({"type": "ImagingStudy"})),
        ("Device", "dev-1", lambda r: r["name"].append(r["name"][0])),
        ("Device", "schema-enum", lambda r: r["name"][0].update(type="model-name")),
        ("Device", "dom-3", lambda r: r.pop("extension")),
        ("DocumentReference", "schema-enum", lambda r: r["contained"][0].update(status="new")),
        ("DiagnosticReport", "schema-additionalProperties", lambda r: r.update(imagingStudy=r["study"])),
        ("DiagnosticReport", "schema-type", lambda r: r["presentedForm"][0].update(size=4)),
        ("DiagnosticReport", "att-1", lambda r: r["presentedForm"][0].pop("contentType")),
        ("Provenance", "reference-target", lambda r: r["agent"][0]["who"].update(type="Observation")),
    ],
)
def test_each_broken_rule_of_r5_is_named(kind: str, rule: str, change: Callable[[Json], object]) -> None:
    bundle = bundle_of()
    change(resources(bundle, "Device" if kind == "DocumentReference" else kind)[0])
    with pytest.raises(Permanent, match=f"a {kind} breaks {rule}") as caught:
        check_bundle(bundle, "5.0")
    assert caught.value.code == "fhir-invalid"


@pytest.mark.parametrize("rule", ["bdl-3c", "bdl-7"])
def test_a_transaction_of_r5_keeps_the_rules_of_bundles(rule: str) -> None:
    bundle = bundle_of()
    if rule == "bdl-7":
        bundle["entry"].append(bundle["entry"][0])
    else:
        del bundle["entry"][0]["request"]
    with pytest.raises(Permanent, match=f"a Bundle breaks {rule}"):
        check_bundle(bundle, "5.0")


def test_a_report_without_any_document_is_r5_too() -> None:
    check_bundle(build_bundle(draft(), HEADER, R5, (), report_text=""), "5.0")


@pytest.mark.parametrize(("theirs", "ours"), [("4.0.1", "5.0"), ("5.0.0", "4.0")])
def test_a_server_of_another_version_is_refused(theirs: str, ours: str) -> None:
    def answer(asked: Asked) -> Answer:
        return 200, {"resourceType": "CapabilityStatement", "fhirVersion": theirs}

    profile = replace(PROFILE, fhir_version=ours)
    bundle = build_bundle(draft(), HEADER, profile, (), report_text="text")
    with scripted_server(answer) as server, pytest.raises(Permanent, match="wrong-fhir-version"):
        FhirClient(server.base_url, fhir_version=ours).post(bundle)


def test_an_r5_server_gets_the_transaction() -> None:
    def answer(asked: Asked) -> Answer:
        if asked.path.endswith("metadata"):
            return 200, {"resourceType": "CapabilityStatement", "fhirVersion": "5.0.0"}
        return 200, {"resourceType": "Bundle", "entry": []}

    with scripted_server(answer) as server:
        FhirClient(server.base_url, fhir_version="5.0").post(bundle_of())
    assert b"ImagingSelection" in server.asked[-1].body
