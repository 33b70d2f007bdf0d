"""Writing a report as one resource that holds all it speaks of, for reporting systems that take a DiagnosticReport."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from clinical import Permanent
from hl7_fhir.capability import NO_WAY_TO_WRITE, Capabilities
from hl7_fhir.exchange import Exchange
from hl7_fhir.gate import check_resource
from hl7_fhir.linking import linked
from hl7_fhir.single_writes import write_singly

Json = dict[str, Any]

_NAMES = {"Device": "device", "ImagingStudy": "study", "Observation": "finding"}
_PATIENT = {"reference": "#patient1", "type": "Patient"}


def write_report(exchange: Exchange, bundle: Json, capabilities: Capabilities) -> tuple[str, ...]:
    """Write the transaction's report as one resource, as every resource is written on its own.

    Raises
    ------
    Permanent, Transient
        As for a transaction; ``no-way-to-write`` where the server says that it does not create, update and search
        DiagnosticReport: without the search a report could be written over a signed one.
    """
    report = contained_report(bundle)
    if not capabilities.writes("DiagnosticReport"):
        raise Permanent(
            NO_WAY_TO_WRITE,
            "the FHIR server's CapabilityStatement does not offer to create, update and search DiagnosticReport",
        )
    return write_singly(exchange, {"entry": [{**_entry_of(bundle), "resource": report}]}, capabilities)


def contained_report(bundle: Json) -> Json:
    """The transaction's report with everything it refers to contained in it (R4 2.3.0.3), checked by the send gate.

    The subject is the contained Patient, by the identifier the images give; the patient that was found at the EHR is
    its link. What the report does not refer to has no place: Provenance, and findings of an earlier version, which go
    as the report is replaced.

    Raises
    ------
    Permanent
        ``fhir-invalid``.
    """
    entry = _entry_of(bundle)
    entries = {one["fullUrl"]: one["resource"] for one in bundle["entry"]}
    counted: Counter[str] = Counter()
    names: dict[str, str] = {}
    for url in dict.fromkeys(_reached(entry["resource"], entries)):
        kind = entries[url]["resourceType"]
        counted[kind] += 1
        names[url] = f"{_NAMES[kind]}{counted[kind]}"
    links = {
        url: {"reference": f"#{name}", "type": entries[url]["resourceType"]} for url, name in names.items()
    }
    contained = [_patient(entry["resource"]["subject"])]
    for url, name in names.items():
        contained += _contained(linked(entries[url], links), name)
    report = {**linked(entry["resource"], links), "subject": _PATIENT, "contained": contained}
    check_resource(report)
    return report


def _entry_of(bundle: Json) -> Json:
    entry: Json = next(e for e in bundle["entry"] if e["resource"]["resourceType"] == "DiagnosticReport")
    return entry


def _reached(value: Any, entries: Json) -> Iterator[str]:
    """Addresses of the entries that a value refers to, and that these refer to."""
    if isinstance(value, list):
        for item in value:
            yield from _reached(item, entries)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _reached(item, entries)
        target = value.get("reference")
        if isinstance(target, str) and target in entries:
            yield target
            yield from _reached(entries[target], entries)


def _patient(subject: Json) -> Json:
    patient = {"resourceType": "Patient", "id": "patient1", "identifier": [subject["identifier"]]}
    if "reference" in subject:
        # R4 LinkType "refer": the record that counts is the other one.
        patient["link"] = [{"other": {"reference": subject["reference"], "type": "Patient"}, "type": "refer"}]
    return patient


def _contained(resource: Json, name: str) -> list[Json]:
    """A resource as it is contained: by a name, without a security label (dom-5), and with nothing inside (dom-2).

    What it contained itself stands beside it; the report's own label speaks for all of it.
    """
    kept = {key: item for key, item in resource.items() if key not in ("contained", "meta")}
    meta = (
        {key: item for key, item in resource["meta"].items() if key != "security"}
        if "meta" in resource
        else {}
    )
    named = {"resourceType": kept["resourceType"], "id": name, **({"meta": meta} if meta else {}), **kept}
    if "subject" in named:
        named["subject"] = _PATIENT
    return [named, *resource.get("contained", [])]
