"""What was done as a DICOM audit message (PS3.15 A.5.1), as IHE ATNA repositories take them."""

from __future__ import annotations

import ipaddress
from xml.etree.ElementTree import Element, SubElement, tostring

from hl7_fhir.audit_event import AuditFact, Kind

_DCM = "DCM"
_DECLARATION = b'<?xml version="1.0" encoding="UTF-8"?>'
# PS3.16 CID 400 and CID 401: event and its type.
_EVENTS: dict[Kind, tuple[tuple[str, str], tuple[str, str] | None, str]] = {
    Kind.START: (("110100", "Application Activity"), ("110120", "Application Start"), "E"),
    Kind.CONFIGURE: (("110113", "Security Alert"), ("110131", "Software Configuration"), "E"),
    Kind.IMPORT: (("110104", "DICOM Instances Transferred"), None, "C"),
    Kind.USE: (("110103", "DICOM Instances Accessed"), None, "R"),
    Kind.STORE: (("110104", "DICOM Instances Transferred"), None, "R"),
    Kind.EXPORT: (("110106", "Export"), None, "R"),
    Kind.CREATE: (("110106", "Export"), None, "R"),
    Kind.UPDATE: (("110106", "Export"), None, "R"),
    Kind.VIEW: (("110110", "Patient Record"), None, "R"),
    Kind.DECIDE: (("110110", "Patient Record"), None, "U"),
    Kind.DELETE: (("110105", "DICOM Study Deleted"), None, "D"),
    Kind.REFUSE: (("110113", "Security Alert"), ("110126", "Node Authentication"), "E"),
}
_SOURCE, _DESTINATION = ("110153", "Source Role ID"), ("110152", "Destination Role ID")
_STUDY_UID = ("110180", "Study Instance UID")


def audit_message(fact: AuditFact, source: str, site: str = "") -> bytes:
    """The event as XML in UTF-8.

    Of the patient it names the number with its authority, of the study its UID, as A.5.3 demands; no name, birth date,
    accession number or word of a report. The grammar wants a name for each object: it is left empty.

    Parameters
    ----------
    source
        AuditSourceID: this installation.
    site
        AuditEnterpriseSiteID; left out where it is empty.
    """
    root = Element("AuditMessage")
    _event(root, fact)
    user = fact.actor.startswith(("user:", "token:"))
    _participant(root, fact.client, _SOURCE, requestor=not user)
    _participant(root, fact.server, _DESTINATION, requestor=False)
    if user:
        SubElement(root, "ActiveParticipant", UserID=_clean(fact.actor), UserIsRequestor="true")
    reporter = SubElement(root, "AuditSourceIdentification", AuditSourceID=_clean(source))
    if site:
        reporter.set("AuditEnterpriseSiteID", _clean(site))
    if fact.patient is not None:
        number = _patient_number(*fact.patient)
        # Table A.5-1: a person (1) in the role of the patient (1); 2 is RFC 3881's Patient Number.
        _object(root, number, "1", "1", ("2", "RFC-3881", "Patient Number"))
    if fact.study_instance_uid:
        code, meaning = _STUDY_UID
        _object(root, fact.study_instance_uid, "2", "3", (code, _DCM, meaning))
    # On one line: syslog servers write a line break as an escape, and the XML would be none any more.
    content: bytes = tostring(root, encoding="UTF-8", xml_declaration=False)
    return _DECLARATION + content


def _event(root: Element, fact: AuditFact) -> None:
    event, kind, action = _EVENTS[fact.kind]
    said = SubElement(
        root,
        "EventIdentification",
        EventActionCode=action,
        EventDateTime=fact.at_utc.isoformat(timespec="milliseconds"),
        # 4 minor failure: the work stands and may be done again.
        EventOutcomeIndicator="0" if fact.outcome == "ok" else "4",
    )
    _code(said, "EventID", (event[0], _DCM, event[1]))
    if kind is not None:
        _code(said, "EventTypeCode", (kind[0], _DCM, kind[1]))
    described = fact.detail if fact.outcome == "ok" else f"{fact.outcome} {fact.detail}".strip()
    if described:
        SubElement(said, "EventOutcomeDescription").text = _clean(described)


def _participant(root: Element, end: tuple[str, str], role: tuple[str, str], *, requestor: bool) -> None:
    name, address = end
    participant = SubElement(
        root,
        "ActiveParticipant",
        UserID=_clean(name) or "unknown",
        UserIsRequestor="true" if requestor else "false",
        NetworkAccessPointID=_clean(address) or "unknown",
        NetworkAccessPointTypeCode=_access_point(address),
    )
    _code(participant, "RoleIDCode", (role[0], _DCM, role[1]))


def _access_point(address: str) -> str:
    """NetworkAccessPointTypeCode: 5 a URI, 2 an IP address, 1 a machine's name."""
    if "://" in address:
        return "5"
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return "1"
    return "2"


def _object(root: Element, identity: str, kind: str, role: str, code: tuple[str, str, str]) -> None:
    item = SubElement(
        root,
        "ParticipantObjectIdentification",
        ParticipantObjectID=_clean(identity),
        ParticipantObjectTypeCode=kind,
        ParticipantObjectTypeCodeRole=role,
    )
    _code(item, "ParticipantObjectIDTypeCode", code)
    SubElement(item, "ParticipantObjectName").text = ""


def _code(parent: Element, name: str, code: tuple[str, str, str]) -> None:
    value, system, meaning = code
    SubElement(parent, name, {"csd-code": value, "codeSystemName": system, "originalText": meaning})


def _patient_number(system: str, value: str) -> str:
    """Patient ID as ITI-20 has it, in HL7's type CX: number and authority."""
    if system.startswith("urn:oid:"):
        return f"{value}^^^&{system.removeprefix('urn:oid:')}&ISO"
    return f"{value}^^^{system}"


def _clean(text: str) -> str:
    """On one line, without characters XML 1.0 cannot hold."""
    return "".join(c if c.isprintable() else " " for c in text)
