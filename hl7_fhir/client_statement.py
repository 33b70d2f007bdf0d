"""What RadDraft asks of a FHIR server, as the CapabilityStatement of a client (R4 5.1): made from its scopes."""

from __future__ import annotations

from typing import Any

from hl7_fhir.scopes import (
    WANTED,
    WANTED_FOR_DOCUMENTS,
    WANTED_TO_AUDIT,
    WANTED_TO_FOLLOW,
    WANTED_TO_MATCH,
    WANTED_TO_SUBSCRIBE,
    permissions_of,
)

Json = dict[str, Any]

# R4 5.1.1: of a piece of software, whatever its installation; an instance would have an address.
_KIND = "capability"
_CHANGED_ON = "2026-11-28"
_INTERACTIONS = {"c": "create", "r": "read", "u": "update", "d": "delete", "s": "search-type"}
# These have no identifier in R4, and are known by a tag of ours.
_KNOWN_BY_TAG = frozenset({"Provenance", "AuditEvent", "Subscription"})
# What the scopes allow and is not asked for: scopes are granted by type, and a conditional create needs the search.
_NOT_ASKED = frozenset({("AuditEvent", "search-type"), ("DiagnosticReport", "read")})
# How signed reports are followed, beside the search by identifier.
_FOLLOWED_BY = ({"name": "_lastUpdated", "type": "date"}, {"name": "status", "type": "token"})
# Of several Subscriptions of ours one is kept, so that none is created by condition: a server that ignores the
# condition's parameter would take another's for ours.
_WITHOUT_CONDITION = frozenset({"Binary", "Subscription"})
# Updated by their id, after a search; others by PUT with their identifier, as an entry of a transaction.
_UPDATED_BY_ID = frozenset({"DocumentReference", "Subscription"})
_ALL_WANTED = (
    *WANTED,
    *WANTED_TO_MATCH,
    *WANTED_FOR_DOCUMENTS,
    *WANTED_TO_FOLLOW,
    *WANTED_TO_SUBSCRIBE,
    *WANTED_TO_AUDIT,
)
_WORDS = {
    "AuditEvent": "Only where audit.destination names this server.",
    "Binary": "Only where the server takes neither transactions nor DiagnosticReport.",
    "Device": "The model, one for each version of it; created once.",
    "DiagnosticReport": "The draft of one study: preliminary or partial, never final, never over a signed one.",
    "DocumentReference": "Only where the server takes neither transactions nor DiagnosticReport.",
    "ImagingStudy": "Created once, by its Study Instance UID.",
    "Observation": "One for each finding the model was asked about.",
    "Patient": "Found and read, never created or changed.",
    "Provenance": "One for each version of the draft.",
    "ServiceRequest": "Found by its accession number, never created or changed.",
    "Subscription": "Only where destinations name a subscription: one, by rest-hook, to signed reports.",
}


def client_statement(version: str) -> Json:
    """The statement; the same version of the software gives the same one.

    Parameters
    ----------
    version
        Of the software.
    """
    allowed: dict[str, frozenset[str]] = {}
    for scope in _ALL_WANTED:
        kind, permissions = permissions_of(scope)
        allowed[kind] = allowed.get(kind, frozenset()) | permissions
    return {
        "resourceType": "CapabilityStatement",
        "url": "urn:raddraft:capability-statement:client",
        "name": "RadDraftClient",
        "title": "RadDraft as a client of a FHIR server",
        "status": "active",
        "date": _CHANGED_ON,
        "kind": _KIND,
        "software": {"name": "RadDraft", "version": version},
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "rest": [
            {
                "mode": "client",
                "documentation": (
                    "Reports are written as one transaction, else resource by resource, else as a document: the "
                    'best way the server\'s own CapabilityStatement offers. A site may set write = "report": one '
                    "DiagnosticReport with everything contained, which needs that type alone. Reports in R5 "
                    "(fhir_version 5.0) are written in the first two ways, with ImagingSelection as Observation is."
                ),
                "security": _security(),
                "resource": [_resource(kind, allowed[kind]) for kind in sorted(allowed)],
                "interaction": [
                    {
                        "code": "transaction",
                        "documentation": "One study is one transaction; it may be repeated.",
                    }
                ],
            }
        ],
    }


def _security() -> Json:
    system = "http://terminology.hl7.org/CodeSystem/restful-security-service"
    coding = {"system": system, "code": "SMART-on-FHIR", "display": "SMART-on-FHIR"}
    return {
        "service": [{"coding": [coding], "text": "SMART Backend Services (client-confidential-asymmetric)"}],
        "description": (
            "Client credentials with a signed assertion (RS384 or ES384), a bearer token of the site's or none; "
            "mutual TLS where the site wants it. TLS 1.2 or newer, certificates always verified."
        ),
    }


def _resource(kind: str, permissions: frozenset[str]) -> Json:
    allowed = [code for letter, code in _INTERACTIONS.items() if letter in permissions]
    codes = [code for code in allowed if (kind, code) not in _NOT_ASKED]
    stated: Json = {"type": kind, "documentation": _WORDS[kind], "interaction": [{"code": c} for c in codes]}
    if "update" in codes:
        # If-Match with the version that was read.
        stated["versioning"] = "versioned-update"
    if "create" in codes and kind not in _WITHOUT_CONDITION:
        stated["conditionalCreate"] = True
    if "update" in codes and kind not in _UPDATED_BY_ID:
        stated["conditionalUpdate"] = True
    if kind in _KNOWN_BY_TAG:
        stated["searchParam"] = [{"name": "_tag", "type": "token"}]
    elif "search-type" in codes:
        followed = _FOLLOWED_BY if kind == "DiagnosticReport" else ()
        stated["searchParam"] = [{"name": "identifier", "type": "token"}, *followed]
    return stated
