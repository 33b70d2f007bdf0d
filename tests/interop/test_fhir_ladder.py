"""A server that offers less gets the report all the same, in the best way it has; a person's word always stands."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from clinical import Permanent, Transient
from hl7_fhir import FhirClient, PostResult, Way, build_bundle, report_identifier, retraction_of
from tests.hl7_fhir.drafts import EDEMA, EFFUSION, HEADER, PNEUMOTHORAX, PROFILE, draft
from tests.interop.fhir_engine.engine import Store

pytestmark = pytest.mark.interop

KINDS = ("Device", "ImagingStudy", "Observation", "DiagnosticReport", "Provenance")
ONE_OF_EACH = {"Device": 1, "ImagingStudy": 1, "Observation": 2, "DiagnosticReport": 1, "Provenance": 1}
FEW_TYPES = ["Observation", "DiagnosticReport", "Patient"]
DOCUMENTS = ["DocumentReference", "Binary", "Patient"]
RETRACTED_AT = datetime(2026, 1, 3, tzinfo=UTC)


def report_of(version: int = 1, text: str = "a draft") -> dict[str, Any]:
    findings = (EFFUSION, PNEUMOTHORAX) if version == 1 else (PNEUMOTHORAX, EDEMA)
    withdrawn = () if version == 1 else (EFFUSION, PNEUMOTHORAX)
    made = draft(version=version, findings=findings)
    return build_bundle(made, HEADER, PROFILE, (), report_text=text, withdrawn=withdrawn)


def post(store: Store, bundle: dict[str, Any], way: Way | None = None) -> PostResult:
    return FhirClient(store.base_url, way=way).post(bundle)


@pytest.mark.parametrize("conditional", [True, False])
def test_without_transactions_each_resource_is_written_once(far_store: Store, conditional: bool) -> None:
    far_store.limit(transaction=False, conditionalCreate=conditional, conditionalUpdate=False)
    first = post(far_store, report_of())
    assert first.way is Way.SINGLE
    assert set(first.entries) == {"201"}
    assert far_store.counts(*KINDS) == ONE_OF_EACH
    assert set(post(far_store, report_of()).entries) == {"200"}
    assert far_store.counts(*KINDS) == ONE_OF_EACH
    assert not far_store.warnings()


def test_without_transactions_version_2_is_the_same_report(far_store: Store) -> None:
    far_store.limit(transaction=False)
    post(far_store, report_of())
    (before,) = far_store.search("DiagnosticReport")
    post(far_store, report_of(version=2))
    (report,) = far_store.search("DiagnosticReport")
    assert report["id"] == before["id"]
    statuses = {o["identifier"][0]["value"]: o["status"] for o in far_store.search("Observation")}
    assert statuses == {
        "urn:oid:2.25.1": "entered-in-error",
        "urn:oid:2.25.2": "preliminary",
        "urn:oid:2.25.3": "preliminary",
    }


def test_types_the_server_does_not_take_are_left_out_and_named_by_identifier(far_store: Store) -> None:
    far_store.limit(types=FEW_TYPES)
    result = post(far_store, report_of())
    assert result.way is Way.SINGLE
    assert result.entries.count("") == 3
    (report,) = far_store.search("DiagnosticReport")
    assert report["imagingStudy"] == [
        {"type": "ImagingStudy", "identifier": {"system": "urn:dicom:uid", "value": "urn:oid:1.2.3.4"}}
    ]
    assert {o["device"]["type"] for o in far_store.search("Observation")} == {"Device"}
    assert not far_store.warnings()


def test_a_server_of_documents_gets_one_document_that_is_updated(far_store: Store) -> None:
    far_store.limit(transaction=False, types=DOCUMENTS)
    assert post(far_store, report_of()).way is Way.DOCUMENT
    post(far_store, report_of())
    assert far_store.counts("DocumentReference", "Binary") == {"DocumentReference": 1, "Binary": 1}
    post(far_store, report_of(text="another draft"))
    (document,) = far_store.search("DocumentReference")
    assert far_store.counts("DocumentReference", "Binary") == {"DocumentReference": 1, "Binary": 2}
    assert document["docStatus"] == "preliminary"
    assert document["description"].startswith("AI DRAFT, UNSIGNED:")
    assert document["content"][0]["attachment"]["url"].startswith("Binary/")
    assert not far_store.warnings()


def test_a_server_that_takes_nothing_is_refused_with_a_reason(far_store: Store) -> None:
    far_store.limit(transaction=False, types=["Patient"])
    with pytest.raises(Permanent, match="no-way-to-write"):
        post(far_store, report_of())
    assert far_store.requests() == ["GET /metadata"]


def test_a_reporting_system_has_one_report_that_is_replaced_by_the_next_version(far_store: Store) -> None:
    far_store.limit(transaction=False, types=["DiagnosticReport"])
    assert post(far_store, report_of(), Way.REPORT).entries == ("201",)
    assert post(far_store, report_of(), Way.REPORT).entries == ("200",)
    (before,) = far_store.search("DiagnosticReport")
    assert contained(before, "identifier") == [EFFUSION.uid, PNEUMOTHORAX.uid]
    post(far_store, report_of(version=2, text="two"), Way.REPORT)
    (report,) = far_store.search("DiagnosticReport")
    assert report["id"] == before["id"]
    assert contained(report, "identifier") == [PNEUMOTHORAX.uid, EDEMA.uid]
    assert report["status"] == "preliminary"
    assert not far_store.warnings()


def test_what_a_person_signs_of_one_resource_says_whose_it_is_and_of_which_study(far_store: Store) -> None:
    post(far_store, report_of(), Way.REPORT)
    (report,) = far_store.search("DiagnosticReport")
    signer = [{"display": "A radiologist"}]
    far_store.put({**report, "status": "final", "resultsInterpreter": signer}).raise_for_status()
    (signed,) = FhirClient(far_store.base_url).signed_reports(datetime(2026, 1, 1, tzinfo=UTC))
    assert signed.patients == (("urn:oid:1.2.3", "P1"),)
    assert signed.study_instance_uids == (HEADER.study_instance_uid,)


def contained(report: dict[str, Any], element: str) -> list[Any]:
    """Of each finding that is contained: its tracking UID, or another element."""
    found = [one for one in report["contained"] if one["resourceType"] == "Observation"]
    if element != "identifier":
        return [one[element] for one in found]
    return [one["identifier"][0]["value"].removeprefix("urn:oid:") for one in found]


@pytest.mark.parametrize("way", [Way.TRANSACTION, Way.SINGLE, Way.REPORT])
@pytest.mark.parametrize("status", ["final", "amended", "corrected", "appended"])
def test_a_signed_report_stands_in_every_way_of_writing(far_store: Store, way: Way, status: str) -> None:
    post(far_store, report_of(), way)
    (report,) = far_store.search("DiagnosticReport")
    far_store.put({**report, "status": status}).raise_for_status()
    before = far_store.search("DiagnosticReport") + far_store.search("Observation")
    for bundle in (report_of(), report_of(version=2), retraction_of(report_of(), RETRACTED_AT)):
        with pytest.raises(Permanent, match="signed-report-exists"):
            post(far_store, bundle, way)
    assert far_store.search("DiagnosticReport") + far_store.search("Observation") == before


def test_a_signed_document_stands(far_store: Store) -> None:
    post(far_store, report_of(), Way.DOCUMENT)
    (document,) = far_store.search("DocumentReference")
    far_store.put({**document, "docStatus": "final"}).raise_for_status()
    (signed,) = far_store.search("DocumentReference")
    with pytest.raises(Permanent, match="signed-report-exists"):
        post(far_store, report_of(text="another"), Way.DOCUMENT)
    assert far_store.search("DocumentReference") == [signed]


@pytest.mark.parametrize("way", [Way.TRANSACTION, Way.SINGLE, Way.REPORT])
def test_a_signature_between_reading_and_writing_wins(
    far_store: Store, monkeypatch: pytest.MonkeyPatch, way: Way
) -> None:
    post(far_store, report_of(), way)
    (report,) = far_store.search("DiagnosticReport")
    signed = {**report, "status": "final", "conclusion": "Read by a person."}
    import hl7_fhir.signature as signature

    def late(found: Any) -> None:
        """The moment after the check: somebody signs."""
        if found.resource["resourceType"] == "DiagnosticReport":
            far_store.put(signed).raise_for_status()

    monkeypatch.setattr(signature, "refuse_signed", late)
    with pytest.raises((Transient, Permanent)) as caught:
        post(far_store, report_of(version=2), way)
    assert caught.value.code in ("changed-meanwhile", "entry-refused", "signed-report-exists")
    (kept,) = far_store.search("DiagnosticReport")
    assert kept["status"] == "final"
    assert kept["conclusion"] == "Read by a person."


@pytest.mark.parametrize("way", Way)
def test_a_retraction_takes_everything_back_in_place(far_store: Store, way: Way) -> None:
    post(far_store, report_of(), way)
    retraction = retraction_of(report_of(), RETRACTED_AT, "wrong patient position")
    post(far_store, retraction, way)
    post(far_store, retraction, way)
    if way is Way.DOCUMENT:
        (document,) = far_store.search("DocumentReference")
        assert document["status"] == document["docStatus"] == "entered-in-error"
        return
    (report,) = far_store.search("DiagnosticReport")
    assert report["status"] == "entered-in-error"
    assert report["conclusion"] == "AI DRAFT, RETRACTED: wrong patient position"
    if way is Way.REPORT:
        assert set(contained(report, "status")) == {"entered-in-error"}
        return
    assert {o["status"] for o in far_store.search("Observation")} == {"entered-in-error"}
    assert far_store.counts(*KINDS) == {**ONE_OF_EACH, "Provenance": 2}


@pytest.mark.parametrize("way", Way)
def test_a_late_retry_of_version_1_does_not_undo_version_2(far_store: Store, way: Way) -> None:
    post(far_store, report_of(version=2, text="two"), way)
    with pytest.raises(Permanent, match="newer-draft-exists"):
        post(far_store, report_of(), way)
    assert len(far_store.search("Observation")) == (0 if way in (Way.DOCUMENT, Way.REPORT) else 3)


@pytest.mark.parametrize("way", Way)
def test_a_resend_does_not_bring_back_what_was_taken_back_and_a_new_reading_is_written(
    far_store: Store, way: Way
) -> None:
    post(far_store, report_of(), way)
    post(far_store, retraction_of(report_of(), RETRACTED_AT), way)
    with pytest.raises(Permanent, match="retracted-report-exists"):
        post(far_store, report_of(), way)
    post(far_store, report_of(version=2, text="two"), way)
    kind = "DocumentReference" if way is Way.DOCUMENT else "DiagnosticReport"
    (report,) = far_store.search(kind)
    assert report["status"] in ("preliminary", "current")


@pytest.mark.parametrize("way", Way)
def test_several_resources_with_our_identifier_stop_every_way_of_writing(far_store: Store, way: Way) -> None:
    identifier = {"system": "urn:dicom:uid", "value": report_identifier(HEADER.study_instance_uid)}
    report = {"resourceType": "DiagnosticReport", "status": "preliminary", "code": {"text": "a copy"}}
    document = {
        "resourceType": "DocumentReference",
        "status": "current",
        "content": [{"attachment": {"title": "a copy"}}],
    }
    for twin in (report, report, document, document):
        kind = str(twin["resourceType"])
        assert far_store.post({**twin, "identifier": [identifier]}, f"/{kind}").status_code == 201
    with pytest.raises(Permanent, match="several-matches"):
        post(far_store, report_of(), way)
    assert far_store.counts("Observation", "Binary") == {"Observation": 0, "Binary": 0}
