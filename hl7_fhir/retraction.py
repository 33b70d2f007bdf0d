"""Taking a report back: everything a transaction wrote becomes entered-in-error."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from clinical import derived_uid

Json = dict[str, Any]

RETRACTED_START = "AI DRAFT, RETRACTED:"
_TAKEN_BACK = frozenset({"DiagnosticReport", "ImagingSelection", "Observation"})


def retraction_of(bundle: Json, recorded_at_utc: datetime, reason: str = "") -> Json:
    """The transaction that takes back what `bundle` wrote (R4 DiagnosticReport.status ``entered-in-error``).

    The resources keep their identifiers, so this updates them in place; Device and ImagingStudy stay, and a Provenance
    of its own says when. Posting it again changes nothing, and a report that a person has signed is left alone as it
    is by every other transaction.

    Parameters
    ----------
    bundle
        The transaction as it was stored and sent.
    recorded_at_utc
        When the retraction was asked for; the same request gives the same transaction.
    reason
        A person's words for those who read the report; may be empty.
    """
    return {**bundle, "entry": [_taken_back(entry, recorded_at_utc, reason) for entry in bundle["entry"]]}


def _taken_back(entry: Json, recorded_at_utc: datetime, reason: str) -> Json:
    resource = entry["resource"]
    if resource["resourceType"] in _TAKEN_BACK:
        changed = {**resource, "status": "entered-in-error"}
        if resource["resourceType"] == "DiagnosticReport":
            words = " ".join(reason.split()) or "This report was taken back."
            changed["conclusion"] = f"{RETRACTED_START} {words}"
            changed.pop("conclusionCode", None)
        return {**entry, "resource": changed}
    if resource["resourceType"] == "Provenance":
        return _provenance(entry, recorded_at_utc)
    return entry


def _provenance(entry: Json, recorded_at_utc: datetime) -> Json:
    resource = entry["resource"]
    tags = resource["meta"]["tag"]
    delivery = tags[-1]
    code = derived_uid("fhir-retraction", delivery["code"], recorded_at_utc.isoformat())
    recorded = recorded_at_utc.isoformat(timespec="milliseconds")
    changed = {
        **resource,
        "meta": {**resource["meta"], "tag": [*tags[:-1], {**delivery, "code": code}]},
        "recorded": recorded,
        "occurredDateTime": recorded,
        "activity": {
            "coding": [
                {
                    "system": "http://terminology.hl7.org/CodeSystem/v3-DataOperation",
                    "code": "NULLIFY",
                    "display": "nullify",
                }
            ]
        },
    }
    query = entry["request"]["ifNoneExist"].replace(delivery["code"], code)
    return {**entry, "resource": changed, "request": {**entry["request"], "ifNoneExist": query}}
