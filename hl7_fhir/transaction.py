"""Writing a report as one transaction (R4 3.1.0.11): all of it, or nothing."""

from __future__ import annotations

from typing import Any

from hl7_fhir.answers import entry_failure
from hl7_fhir.exchange import Exchange, Stored, body_of
from hl7_fhir.linking import linked
from hl7_fhir.signature import unsigned_report

Json = dict[str, Any]


def write_transaction(exchange: Exchange, bundle: Json) -> tuple[int, tuple[str, ...]]:
    """Post the transaction; its status and that of each entry.

    A report that is there already is updated by its id and version, so that a signature between our reading and our
    writing stops the whole transaction (If-Match, 412).

    Raises
    ------
    Permanent
        ``signed-report-exists``, ``several-matches``, ``entry-refused`` or ``http-<status>``.
    Transient
        ``changed-meanwhile``, ``ehr-unreachable``, ``entry-refused`` or ``http-<status>``.
    """
    for entry in bundle["entry"]:
        if entry["resource"]["resourceType"] == "DiagnosticReport":
            found = unsigned_report(exchange, entry)
            if found is not None and found.if_match is not None:
                bundle = _by_version(bundle, entry, found)
    answer = exchange.send("POST", "", resource=bundle)
    statuses = tuple(
        str(entry.get("response", {}).get("status", "")) for entry in body_of(answer).get("entry", [])
    )
    for status in statuses:
        if not status.startswith("2"):
            raise entry_failure(status)
    return answer.status_code, statuses


def _by_version(bundle: Json, entry: Json, found: Stored) -> Json:
    """The transaction with one entry as an update of exactly the version that was found."""
    by_id = {
        "resource": {**entry["resource"], "id": found.resource["id"]},
        "request": {"method": "PUT", "url": found.reference, "ifMatch": found.if_match},
    }
    links = {entry["fullUrl"]: {"reference": found.reference}}
    entries = [
        by_id if one is entry else {**one, "resource": linked(one["resource"], links)}
        for one in bundle["entry"]
    ]
    return {**bundle, "entry": entries}
