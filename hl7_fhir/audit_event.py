"""What was done as a FHIR AuditEvent, in the shapes of IHE BALP where it was a RESTful one (R4, BALP 1.1)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from hl7_fhir.bundle import UID_SYSTEM
from hl7_fhir.codes import system_of

Json = dict[str, Any]

AUDIT_SYSTEM = "urn:raddraft:audit"
_DCM = system_of("DCM")
_HL7 = "http://terminology.hl7.org/CodeSystem"
_BALP = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit"


class Kind(StrEnum):
    """What an event tells, by the codes it is told with."""

    START = "start"
    CONFIGURE = "configure"
    IMPORT = "import"
    USE = "use"
    STORE = "store"
    EXPORT = "export"
    CREATE = "create"
    UPDATE = "update"
    VIEW = "view"
    DECIDE = "decide"
    DELETE = "delete"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class _Shape:
    """Type, subtype (each system, code, display), action, and the BALP profile of the successful event."""

    type: tuple[str, str, str]
    subtype: tuple[str, str, str] | None
    action: str
    profile: str = ""


def _rest(code: str) -> tuple[tuple[str, str, str], tuple[str, str, str]]:
    return (
        (f"{_HL7}/audit-event-type", "rest", "Restful Operation"),
        ("http://hl7.org/fhir/restful-interaction", code, code),
    )


_ACTIVITY = (_DCM, "110100", "Application Activity")
# DICOM PS3.16 CID 400 and 401; the RESTful ones by BALP 3:5.7.
_SHAPES = {
    Kind.START: _Shape(_ACTIVITY, (_DCM, "110120", "Application Start"), "E"),
    Kind.CONFIGURE: _Shape(
        (_DCM, "110113", "Security Alert"), (_DCM, "110131", "Software Configuration"), "E"
    ),
    Kind.IMPORT: _Shape((_DCM, "110104", "DICOM Instances Transferred"), None, "C"),
    Kind.USE: _Shape((_DCM, "110103", "DICOM Instances Accessed"), None, "R"),
    Kind.STORE: _Shape((_DCM, "110104", "DICOM Instances Transferred"), None, "R"),
    Kind.EXPORT: _Shape((_DCM, "110106", "Export"), None, "R"),
    Kind.CREATE: _Shape(*_rest("create"), "C", "PatientCreate"),
    Kind.UPDATE: _Shape(*_rest("update"), "U", "PatientUpdate"),
    Kind.VIEW: _Shape(*_rest("read"), "R", "PatientRead"),
    Kind.DECIDE: _Shape((_DCM, "110110", "Patient Record"), None, "U"),
    Kind.DELETE: _Shape((_DCM, "110105", "DICOM Study Deleted"), None, "D"),
    Kind.REFUSE: _Shape((_DCM, "110113", "Security Alert"), (_DCM, "110126", "Node Authentication"), "E"),
}


@dataclass(frozen=True, slots=True)
class AuditFact:
    """One row of the audit log with the patient and study it is about.

    Attributes
    ----------
    key
        Digest of the row in its chain: the same row is the same event.
    actor
        Who did it, as the log has it (``user:NAME``, ``ae:TITLE@host``, ``role:...``).
    client, server
        Both ends of the exchange: application or AE, and address where it is known.
    outcome
        ``ok``, or the program's code of the failure.
    patient
        Identifier (system, value) of the patient; None where the event is about none or it is not known any more.
    study_instance_uid
        Empty where the event is about no study.
    """

    key: str
    at_utc: datetime
    kind: Kind
    actor: str
    client: tuple[str, str]
    server: tuple[str, str]
    outcome: str = "ok"
    detail: str = ""
    patient: tuple[str, str] | None = None
    study_instance_uid: str = ""


def audit_event(fact: AuditFact) -> Json:
    """The event as an R4 AuditEvent.

    A successful RESTful one about a patient claims its BALP profile; BALP leaves failures to R4, so they claim none.
    The agents are those BALP asks for: the client (110153 Source Role ID), the server (110152 Destination Role ID), and
    the user where a person acted. No resource is contained and no text of a report is told.
    """
    shape = _SHAPES[fact.kind]
    meta: Json = {"tag": [{"system": AUDIT_SYSTEM, "code": fact.key}]}
    if shape.profile and fact.outcome == "ok" and fact.patient is not None:
        meta["profile"] = [f"{_BALP}.{shape.profile}"]
    event: Json = {
        "resourceType": "AuditEvent",
        "meta": meta,
        "type": _coding(shape.type),
        "action": shape.action,
        "recorded": fact.at_utc.isoformat(timespec="milliseconds"),
        # 4 minor failure: the work stands and may be done again.
        "outcome": "0" if fact.outcome == "ok" else "4",
        "agent": _agents(fact),
        "source": {
            "observer": {"display": "RadDraft"},
            "type": [
                {"system": f"{_HL7}/security-source-type", "code": "4", "display": "Application Server"}
            ],
        },
    }
    if shape.subtype is not None:
        event["subtype"] = [_coding(shape.subtype)]
    said = fact.detail if fact.outcome == "ok" else f"{fact.outcome} {fact.detail}".strip()
    if said:
        event["outcomeDesc"] = said
    entities = _entities(fact)
    if entities:
        event["entity"] = entities
    return event


def _coding(parts: tuple[str, str, str]) -> Json:
    system, code, display = parts
    return {"system": system, "code": code, "display": display}


def _agents(fact: AuditFact) -> list[Json]:
    user = fact.actor.startswith(("user:", "token:"))
    agents = [
        _end((_DCM, "110153", "Source Role ID"), fact.client, requestor=not user),
        _end((_DCM, "110152", "Destination Role ID"), fact.server, requestor=False),
    ]
    if user:
        agents.append(
            {
                "type": {"coding": [_coding((f"{_HL7}/v3-ParticipationType", "AUT", "author (originator)"))]},
                "who": {"identifier": {"system": "urn:raddraft:actor", "value": fact.actor}},
                "requestor": True,
            }
        )
    return agents


def _end(role: tuple[str, str, str], end: tuple[str, str], *, requestor: bool) -> Json:
    name, address = end
    # Network type 5 is a URI, 1 a machine name (R4 network-type).
    return {
        "type": {"coding": [_coding(role)]},
        "who": {"display": name},
        "requestor": requestor,
        "network": {"address": address, "type": "5" if "://" in address else "1"},
    }


def _entities(fact: AuditFact) -> list[Json]:
    entities: list[Json] = []
    if fact.patient is not None:
        system, value = fact.patient
        entities.append(
            {
                "what": {"type": "Patient", "identifier": {"system": system, "value": value}},
                "type": _coding((f"{_HL7}/audit-entity-type", "1", "Person")),
                "role": _coding((f"{_HL7}/object-role", "1", "Patient")),
            }
        )
    if fact.study_instance_uid:
        identifier = {"system": UID_SYSTEM, "value": f"urn:oid:{fact.study_instance_uid}"}
        entities.append(
            {
                "what": {"type": "ImagingStudy", "identifier": identifier},
                "type": _coding((f"{_HL7}/audit-entity-type", "2", "System Object")),
                "role": _coding((f"{_HL7}/object-role", "4", "Domain Resource")),
            }
        )
    return entities
