"""Writing a report as a document, for servers that take no DiagnosticReport: DocumentReference and Binary."""

from __future__ import annotations

from typing import Any

from hl7_fhir.capability import Capabilities
from hl7_fhir.exchange import Exchange, Stored
from hl7_fhir.gate import check_resource
from hl7_fhir.linking import linked, logical
from hl7_fhir.signature import query_of, refuse_older, refuse_signed
from hl7_fhir.single_writes import create, update

Json = dict[str, Any]

_TYPE = {
    "coding": [{"system": "http://loinc.org", "code": "18748-4", "display": "Diagnostic imaging study"}],
    "text": "AI chest X-ray report, DRAFT",
}
_CATEGORY = {"coding": [{"system": "http://loinc.org", "code": "LP29684-5", "display": "Radiology"}]}


def write_document(exchange: Exchange, bundle: Json, capabilities: Capabilities) -> tuple[str, ...]:
    """Write the report's presented forms as one document under the report's identifier.

    A Binary has no identifier: when an attempt breaks between it and the document that names it, a Binary that nothing
    refers to stays on the server.

    Raises
    ------
    Permanent, Transient
        As for a transaction.
    """
    document = document_of(bundle)
    entry = next(e for e in bundle["entry"] if e["resource"]["resourceType"] == "DiagnosticReport")
    found = exchange.the_one("DocumentReference", query_of(entry))
    if found is not None:
        refuse_signed(found)
        refuse_older(found, document)
        if _says_the_same(found, document):
            return ("200",)
    statuses = []
    if capabilities.creates("Binary"):
        for content in document["content"]:
            status = _store_apart(exchange, content["attachment"])
            statuses.append(str(status))
    check_resource(document)
    if found is not None:
        statuses.append(str(update(exchange, document, found)))
    else:
        conditional = capabilities.creates_conditionally("DocumentReference")
        statuses.append(str(create(exchange, document, query_of(entry) if conditional else None)[0]))
    return tuple(statuses)


def document_of(bundle: Json) -> Json:
    """The DocumentReference that says what the transaction's report says."""
    resources = {entry["fullUrl"]: entry["resource"] for entry in bundle["entry"]}
    report = next(r for r in resources.values() if r["resourceType"] == "DiagnosticReport")
    device = next(r for r in resources.values() if r["resourceType"] == "Device")
    study = next(r for r in resources.values() if r["resourceType"] == "ImagingStudy")
    gone = report["status"] == "entered-in-error"
    document: Json = {
        "resourceType": "DocumentReference",
        "meta": report["meta"],
        "masterIdentifier": report["identifier"][0],
        "identifier": report["identifier"],
        "status": "entered-in-error" if gone else "current",
        "docStatus": "entered-in-error" if gone else "preliminary",
        "type": _TYPE,
        "category": [_CATEGORY],
        "subject": report["subject"],
        "date": report["issued"],
        "author": [{**logical(device), "display": report["performer"][0]["display"]}],
        "description": report["conclusion"],
        "content": [{"attachment": dict(form)} for form in report["presentedForm"]],
        "context": {"related": [logical(study), *report.get("basedOn", [])]},
    }
    known = {url: logical(resource) for url, resource in resources.items()}
    made: Json = linked(document, known)
    return made


def _store_apart(exchange: Exchange, attachment: Json) -> int:
    """Put an attachment's bytes into a Binary of their own and let the attachment name it."""
    binary = {
        "resourceType": "Binary",
        "contentType": attachment["contentType"],
        "data": attachment["data"],
    }
    check_resource(binary)
    status, reference = create(exchange, binary, None)
    if reference is not None:
        del attachment["data"]
        attachment["url"] = reference
    return status


def _says_the_same(found: Stored, document: Json) -> bool:
    def hashes(resource: Json) -> list[Any]:
        return [content.get("attachment", {}).get("hash") for content in resource.get("content", [])]

    return found.resource.get("status") == document["status"] and hashes(found.resource) == hashes(document)
