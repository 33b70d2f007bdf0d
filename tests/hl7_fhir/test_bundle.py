"""Promises to the EHR: never a final report, never an invented patient, never a duplicate."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset

from clinical import DraftOutcome, Finding, Permanent, Presence, Score, finding_label
from hl7_fhir import FhirProfile, PatientUnmatched, StudyHeader, build_bundle, codes
from hl7_fhir.codes import loinc_of_views
from tests.hl7_fhir.drafts import EFFUSION, HEADER, PROFILE, STATEMENT, draft, resources


@pytest.mark.parametrize("outcome", DraftOutcome)
def test_every_outcome_is_a_different_unsigned_draft(outcome: DraftOutcome) -> None:
    bundle = build_bundle(draft(outcome), HEADER, PROFILE, (), report_text="text")
    (report,) = resources(bundle, "DiagnosticReport")
    assert report["status"] == "preliminary"
    assert report["conclusion"].startswith("AI DRAFT, UNSIGNED:")
    assert STATEMENT in report["conclusion"]
    assert report["meta"]["security"][0]["code"] == "AIAST"
    assert "resultsInterpreter" not in report
    assert '"final"' not in json.dumps(bundle)
    others = {build_conclusion(other) for other in DraftOutcome if other is not outcome}
    assert report["conclusion"] not in others


def build_conclusion(outcome: DraftOutcome) -> str:
    bundle = build_bundle(draft(outcome), HEADER, PROFILE, (), report_text="text")
    return str(resources(bundle, "DiagnosticReport")[0]["conclusion"])


def test_a_repeat_is_the_same_transaction_and_a_new_version_the_same_report() -> None:
    first = build_bundle(draft(), HEADER, PROFILE, (), report_text="text")
    assert first == build_bundle(draft(), HEADER, PROFILE, (), report_text="text")
    second = build_bundle(draft(version=2), HEADER, PROFILE, (), report_text="text")
    for kind in ("DiagnosticReport", "Observation"):
        assert [r["identifier"] for r in resources(first, kind)] == [
            r["identifier"] for r in resources(second, kind)
        ]
    for entry in first["entry"]:
        request = entry["request"]
        assert "identifier=" in request["url"] or request.get("ifNoneExist")


def test_every_reference_is_in_the_transaction_or_logical() -> None:
    bundle = build_bundle(draft(), HEADER, PROFILE, (), report_text="text")
    known = {entry["fullUrl"] for entry in bundle["entry"]}
    assert len(known) == len(bundle["entry"])

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if "reference" in value:
                # The model card lies in the Device that names it.
                assert value["reference"] in known | {"#model-card"}
            for item in value.values():
                walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)

    walk(bundle)
    (report,) = resources(bundle, "DiagnosticReport")
    assert report["subject"] == {"type": "Patient", "identifier": {"system": "urn:oid:1.2.3", "value": "P1"}}
    assert report["basedOn"][0]["identifier"]["value"] == "A1"


def test_present_and_absent_findings_carry_their_score_and_only_present_ones_a_box() -> None:
    bundle = build_bundle(draft(), HEADER, PROFILE, (), report_text="text")
    present, absent = resources(bundle, "Observation")
    assert present["interpretation"][0]["coding"][0]["code"] == "POS"
    assert absent["interpretation"][0]["coding"][0]["code"] == "NEG"
    assert any("valueString" in c for c in present["component"])
    assert not any("valueString" in c for c in absent["component"])
    assert absent["component"][0]["valueQuantity"]["value"] == 10


def test_a_calibrated_score_is_a_component_that_names_its_calibration() -> None:
    calibrated = replace(EFFUSION, score=Score(0.9, 0.5, 0.75, "400 images 1a2b"))
    bundle = build_bundle(draft(findings=(calibrated,)), HEADER, PROFILE, (), report_text="text")
    (observation,) = resources(bundle, "Observation")
    values = {c["code"]["text"]: c["valueQuantity"]["value"] for c in observation["component"][:2]}
    assert values == {
        "Raw, uncalibrated score": 90.0,
        "Calibrated score, calibrated by 400 images 1a2b": 75.0,
    }


def test_a_withdrawn_finding_becomes_entered_in_error() -> None:
    gone = Finding("2.25.9", finding_label("Edema"), Presence.PRESENT)
    bundle = build_bundle(draft(), HEADER, PROFILE, (), report_text="text", withdrawn=(gone,))
    statuses = {r["identifier"][0]["value"]: r["status"] for r in resources(bundle, "Observation")}
    assert statuses["urn:oid:2.25.9"] == "entered-in-error"


def test_the_patient_is_never_invented() -> None:
    nameless = FhirProfile()
    with pytest.raises(PatientUnmatched):
        build_bundle(draft(), HEADER, nameless, (), report_text="")
    with pytest.raises(PatientUnmatched):
        build_bundle(draft(), StudyHeader("1.2.3.4"), PROFILE, (), report_text="")
    foreign = StudyHeader("1.2.3.4", patient_id="P1", issuer_of_patient_id="ELSEWHERE")
    with pytest.raises(PatientUnmatched):
        build_bundle(draft(), foreign, PROFILE, (), report_text="")
    mapped = FhirProfile(issuers={"ELSEWHERE": "urn:oid:9"})
    (report,) = resources(build_bundle(draft(), foreign, mapped, (), report_text=""), "DiagnosticReport")
    assert report["subject"]["identifier"]["system"] == "urn:oid:9"
    assert "basedOn" not in report
    with pytest.raises(ValueError, match="draft"):
        FhirProfile(draft_status="final")


@settings(max_examples=50, deadline=None)
@given(st.text(min_size=1, max_size=200), st.text(min_size=1, max_size=40).filter(str.strip))
def test_any_text_and_any_patient_id_survive_or_are_refused(text: str, patient_id: str) -> None:
    text = text.encode("utf-8", "replace").decode("utf-8")
    header = StudyHeader("1.2.3.4", patient_id=patient_id.strip().encode("utf-8", "replace").decode("utf-8"))
    if not header.patient_id.isprintable():
        with pytest.raises(PatientUnmatched):
            build_bundle(draft(), header, PROFILE, (), report_text=text)
        return
    bundle = build_bundle(draft(), header, PROFILE, (), report_text=text)
    (report,) = resources(json.loads(json.dumps(bundle)), "DiagnosticReport")
    assert base64.b64decode(report["presentedForm"][0]["data"]).decode("utf-8") == text
    assert report["subject"]["identifier"]["value"] == header.patient_id


_TABLE = {
    name: term for name, term in vars(codes).items() if "VIEW" in name or "LATERAL" in name if name[0] != "_"
}


def test_the_table_of_views_is_pinned() -> None:
    assert sorted(term[0] for term in _TABLE.values()) == [
        "24632-2", "24647-0", "24648-8", "30745-4", "30746-2", "36554-4", "36572-6", "36589-0", "36643-5", "36687-2",
    ]  # fmt: skip


@pytest.mark.parametrize("term", _TABLE.values(), ids=_TABLE)
def test_each_loinc_code_of_the_table_is_well_formed(term: tuple[str, str]) -> None:
    number, check = term[0].split("-")
    # Luhn's rule, LOINC Users' Guide appendix C: every second digit from the right is doubled.
    doubled = sum(sum(divmod(int(d) * 2, 10)) for d in number[::-1][::2])
    assert (doubled + sum(int(d) for d in number[::-1][1::2]) + int(check)) % 10 == 0
    assert "XR Chest" in term[1]


def test_loinc_follows_the_views() -> None:
    assert loinc_of_views(["PA"])[0] == "36554-4"
    assert loinc_of_views(["AP"])[0] == "36572-6"
    assert loinc_of_views(["AP", "LL"])[0] == "36687-2"
    assert loinc_of_views(["PA", "LL"])[0] == "36643-5"
    assert loinc_of_views(["PA"], "CHEST PA ERECT")[0] == "24648-8"
    assert loinc_of_views(["LL", "PA"], "Chest upright")[0] == "24647-0"
    assert loinc_of_views(["AP"], "PORTABLE CHEST")[0] == "36589-0"
    assert loinc_of_views(["AP", "AP"], "Mobile chest")[0] == "24632-2"
    assert (
        loinc_of_views([""], "bedside chest")[0] == loinc_of_views(["AP", "LL"], "portable")[0] == "30746-2"
    )
    assert loinc_of_views(["AP"], "importable")[0] == "36572-6"
    assert loinc_of_views([])[0] == loinc_of_views(["", "", ""])[0] == "30745-4"


def test_a_study_time_without_offset_becomes_a_date() -> None:
    header = Dataset()
    header.StudyInstanceUID, header.StudyDate, header.StudyTime = "1.2", "20260102", "030405"
    assert StudyHeader.from_dataset(header).study_datetime == "2026-01-02"
    header.TimezoneOffsetFromUTC = "-0530"
    assert StudyHeader.from_dataset(header).study_datetime == "2026-01-02T03:04:05-05:30"


def test_what_is_not_r4_is_refused_without_saying_its_value() -> None:
    header = replace(HEADER, study_datetime="last Tuesday")
    with pytest.raises(Permanent, match="fhir-not-modelled") as refused:
        build_bundle(draft(), header, PROFILE, (), report_text="text")
    assert "Tuesday" not in str(refused.value)


def test_the_device_carries_its_model_card_and_says_what_kind_of_ai_it_is() -> None:
    bundle = build_bundle(draft(), HEADER, PROFILE, (), report_text="text")
    (device,) = resources(bundle, "Device")
    (card,) = device["contained"]
    text = base64.b64decode(card["content"][0]["attachment"]["data"]).decode("utf-8")
    assert STATEMENT in text and "a" * 64 in text and "## Limitations" in text
    said = {e["url"].rpartition("aitransparency.")[2]: e for e in device["extension"]}
    assert said["modelCardDescription"]["valueReference"] == {"reference": f"#{card['id']}"}
    kinds = [
        e["valueCodeableConcept"]["coding"][0]["code"] for e in device["extension"] if "AIKind" in e["url"]
    ]
    assert "Vision-Language-Models" in kinds
    # The card is the model's, whichever study and version brings it.
    other = build_bundle(draft(version=2), replace(HEADER, patient_id="P2"), PROFILE, (), report_text="other")
    assert resources(other, "Device") == [device]


def test_a_probability_is_claimed_for_calibrated_scores_alone() -> None:
    calibrated = replace(EFFUSION, score=Score(0.9, 0.5, 0.73, "site-2026"))
    for finding, expected in ((EFFUSION, []), (calibrated, [0.73])):
        bundle = build_bundle(draft(findings=(finding,)), HEADER, PROFILE, (), report_text="text")
        (observation,) = resources(bundle, "Observation")
        claimed = [e["valueDecimal"] for e in observation.get("extension", [])]
        assert [float(value) for value in claimed] == expected
        texts = [c["code"].get("text", "") for c in observation["component"]]
        assert any(text.startswith("Calibrated score") for text in texts) is bool(expected)
