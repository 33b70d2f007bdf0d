"""Audit rows as R4 AuditEvents in the shapes of IHE BALP."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from fhir.resources.R4B.auditevent import AuditEvent

from hl7_fhir import AuditFact, Kind, audit_event
from hl7_fhir.gate import check_resource

FACT = AuditFact(
    key="a" * 64,
    at_utc=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    kind=Kind.UPDATE,
    actor="role:host/1/2",
    client=("RadDraft", "host"),
    server=("ehr", "https://ehr.example/fhir"),
    patient=("urn:oid:1.2.3", "P1"),
    study_instance_uid="1.2.3.4",
)
_DCM = "http://dicom.nema.org/resources/ontology/DCM"


def agents(event: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {agent["type"]["coding"][0]["code"]: agent for agent in event["agent"]}


def entities(event: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {entity["type"]["code"]: entity for entity in event.get("entity", [])}


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("outcome", ["ok", "http-503"])
@pytest.mark.parametrize("actor", ["role:host/1/2", "user:alice", "token:ehr", "ae:MODALITY@10.0.0.5"])
def test_every_kind_of_event_is_r4(kind: Kind, outcome: str, actor: str) -> None:
    for patient in (FACT.patient, None):
        event = audit_event(replace(FACT, kind=kind, outcome=outcome, actor=actor, patient=patient))
        check_resource(event)
        AuditEvent.model_validate(event)
        assert event["outcome"] == ("0" if outcome == "ok" else "4")


@pytest.mark.parametrize(
    ("kind", "code", "action", "profile"),
    [
        (Kind.CREATE, "create", "C", "PatientCreate"),
        (Kind.UPDATE, "update", "U", "PatientUpdate"),
        (Kind.VIEW, "read", "R", "PatientRead"),
    ],
)
def test_a_restful_success_about_a_patient_has_what_balp_asks_for(
    kind: Kind, code: str, action: str, profile: str
) -> None:
    event = audit_event(replace(FACT, kind=kind, actor="user:alice"))
    assert event["meta"]["profile"] == [
        f"https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.{profile}"
    ]
    assert event["type"]["code"] == "rest"
    assert [each["code"] for each in event["subtype"]] == [code]
    assert (event["action"], event["outcome"]) == (action, "0")
    ends = agents(event)
    # Client and server each once with who and network and without media; the user as requestor without a network.
    assert set(ends) == {"110153", "110152", "AUT"}
    for role in ("110153", "110152"):
        assert ends[role]["who"] and ends[role]["network"]["address"]
    assert ends["AUT"]["requestor"] is True and "network" not in ends["AUT"]
    assert sum(agent["requestor"] for agent in event["agent"]) == 1
    parts = entities(event)
    assert parts["1"]["role"]["code"] == "1"
    assert parts["1"]["what"]["identifier"] == {"system": "urn:oid:1.2.3", "value": "P1"}
    assert parts["2"]["role"]["code"] == "4"
    assert parts["2"]["what"]["identifier"]["value"] == "urn:oid:1.2.3.4"


def test_a_failure_and_an_event_about_nobody_claim_no_profile() -> None:
    assert "profile" not in audit_event(replace(FACT, outcome="http-503"))["meta"]
    assert "profile" not in audit_event(replace(FACT, patient=None))["meta"]


def test_received_images_are_named_by_dicoms_own_codes() -> None:
    event = audit_event(
        replace(FACT, kind=Kind.IMPORT, actor="ae:MODALITY@10.0.0.5", client=("MODALITY", "10.0.0.5"))
    )
    assert event["type"]["system"] == _DCM and event["type"]["code"] == "110104"
    assert agents(event)["110153"]["network"]["address"] == "10.0.0.5"


def test_the_same_row_is_the_same_event() -> None:
    assert audit_event(FACT) == audit_event(FACT)
    assert audit_event(FACT)["meta"]["tag"][0]["code"] == FACT.key
