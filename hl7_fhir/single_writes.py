"""Writing a report resource by resource, for servers without transactions or without all of our types."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import httpx

from clinical import Transient
from hl7_fhir.capability import Capabilities
from hl7_fhir.exchange import Exchange, Stored, body_of
from hl7_fhir.linking import linked, logical
from hl7_fhir.signature import query_of, refuse_signed, unsigned_report

Json = dict[str, Any]


def write_singly(exchange: Exchange, bundle: Json, capabilities: Capabilities) -> tuple[str, ...]:
    """Write each entry on its own; the status of each, empty for types the server does not take.

    What is there already is updated at the version that was read (If-Match); what is not is created unless it appears
    meanwhile (If-None-Exist). The report comes after its findings, so a broken attempt leaves no report that lists what
    is not there; the next attempt finds what was written and goes on.

    Raises
    ------
    Permanent, Transient
        As for a transaction.
    """
    for entry in bundle["entry"]:
        if entry["resource"]["resourceType"] == "DiagnosticReport":
            unsigned_report(exchange, entry)
    writer = _Writer(exchange, capabilities)
    return tuple(writer.write(entry) for entry in bundle["entry"])


@dataclass(frozen=True, slots=True)
class _Writer:
    exchange: Exchange
    capabilities: Capabilities
    links: dict[str, Json] = field(default_factory=dict)

    def write(self, entry: Json) -> str:
        kind = entry["resource"]["resourceType"]
        if not self.capabilities.writes(kind):
            self.links[entry["fullUrl"]] = logical(entry["resource"])
            return ""
        resource = linked(entry["resource"], self.links)
        found = self.exchange.the_one(kind, query_of(entry))
        if found is None:
            status, reference = self._create(kind, resource, query_of(entry))
        else:
            refuse_signed(found)
            updated = entry["request"]["method"] == "PUT"
            status, reference = update(self.exchange, resource, found) if updated else 200, found.reference
        self.links[entry["fullUrl"]] = {"reference": reference}
        return str(status)

    def _create(self, kind: str, resource: Json, query: str) -> tuple[int, str]:
        conditional = self.capabilities.creates_conditionally(kind)
        status, reference = create(self.exchange, resource, query if conditional else None)
        if reference is None:
            found = self.exchange.the_one(kind, query)
            if found is None:
                raise Transient(
                    "not-found-again", "the FHIR server does not yet find what it has just stored"
                )
            reference = found.reference
        return status, reference


def create(exchange: Exchange, resource: Json, if_none_exist: str | None) -> tuple[int, str | None]:
    """Create a resource; the status and, where the server says it, ``Type/id``."""
    kind = resource["resourceType"]
    headers = {"If-None-Exist": if_none_exist} if if_none_exist else {}
    answer = exchange.send("POST", kind, resource=resource, headers=headers)
    named = re.search(rf"\b{kind}/([A-Za-z0-9.-]{{1,64}})", answer.headers.get("Location", ""))
    return answer.status_code, named.group(0) if named else _named_by_body(answer, kind)


def _named_by_body(answer: httpx.Response, kind: str) -> str | None:
    try:
        body = body_of(answer)
    except Transient:
        return None
    known = body.get("resourceType") == kind and re.fullmatch(r"[A-Za-z0-9.-]{1,64}", str(body.get("id", "")))
    return f"{kind}/{body['id']}" if known else None


def update(exchange: Exchange, resource: Json, found: Stored) -> int:
    """Update a resource at the version that was read; the status."""
    headers = {"If-Match": found.if_match} if found.if_match else {}
    named = {**resource, "id": found.resource["id"]}
    return exchange.send("PUT", found.reference, resource=named, headers=headers).status_code
