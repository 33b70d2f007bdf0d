"""Drafts as the rest of the house makes them, for tests of the EHR's side."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from clinical import (
    Box,
    Draft,
    DraftOutcome,
    Finding,
    GroundedBox,
    ImageOutcome,
    ImageRef,
    Laterality,
    ModelIdentity,
    NotAssessed,
    Presence,
    Reading,
    Score,
    finding_label,
)
from hl7_fhir import FhirProfile, StudyHeader

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STATEMENT = "PHANTOM MODEL - NOT FOR CLINICAL USE"
PROFILE = FhirProfile(default_patient_system="urn:oid:1.2.3", accession_system="urn:oid:1.2.4")
HEADER = StudyHeader(
    "1.2.3.4", patient_id="P1", accession_number="A1", study_datetime="2026-01-02", modality="DX"
)
EFFUSION = Finding(
    "2.25.1",
    finding_label("Pleural Effusion"),
    Presence.PRESENT,
    Laterality.RIGHT,
    score=Score(0.9, 0.5),
    boxes=(GroundedBox(Box(1, 2, 30, 40), 0.5),),
)
PNEUMOTHORAX = Finding("2.25.2", finding_label("Pneumothorax"), Presence.ABSENT, score=Score(0.1, 0.5))
EDEMA = Finding("2.25.3", finding_label("Edema"), Presence.PRESENT, score=Score(0.8, 0.5))
_OF_OUTCOME = {
    DraftOutcome.FINDINGS: (EFFUSION, PNEUMOTHORAX),
    DraftOutcome.NO_FINDINGS: (PNEUMOTHORAX,),
}


def draft(
    outcome: DraftOutcome = DraftOutcome.FINDINGS,
    version: int = 1,
    findings: tuple[Finding, ...] | None = None,
) -> Draft:
    """A Draft of one study with one image."""
    image = ImageRef("1.2.3.4.5", "1.2.840", "1.2.3.4.6", 100, 200, "DX", "MONOCHROME2", "PA")
    model = ModelIdentity("m", "1", "llava_onevision", "a" * 64, "b" * 64, "engine", "fp32", STATEMENT)
    found = findings if findings is not None else _OF_OUTCOME.get(outcome)
    return Draft(
        study_instance_uid="1.2.3.4",
        version=version,
        outcome=outcome,
        readings=(Reading(image, found, (), (), model),) if found else (),
        other_images=()
        if found
        else (ImageOutcome(image, "not_assessed", "lateral-view", "a lateral view"),),
        study_findings=(),
        model=model,
        header_digest="d",
        configuration_sha256="c",
        product_version="0",
        started_at_utc=NOW + timedelta(hours=version - 1),
        completed_at_utc=NOW + timedelta(hours=version - 1),
        reasons=() if found else (NotAssessed("image 1", "lateral-view", "a lateral view"),),
    )


def resources(bundle: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """A bundle's resources of one type, in order."""
    return [e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == kind]
