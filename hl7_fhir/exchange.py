"""One conversation with a FHIR server: requests with our credentials, answers by the table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

from clinical import Permanent, Transient
from hl7_fhir.access import Access
from hl7_fhir.answers import failure_of, several_matches

Json = dict[str, Any]

FHIR_JSON = "application/fhir+json"
# Failures that say that a resource is not there, or no longer (R4 3.1.0.1).
GONE = frozenset({"http-404", "http-410"})


@dataclass(frozen=True, slots=True)
class Stored:
    """A resource as the server has it."""

    resource: Json

    @property
    def reference(self) -> str:
        """``Type/id``."""
        return f"{self.resource['resourceType']}/{self.resource['id']}"

    @property
    def if_match(self) -> str | None:
        """Value of If-Match that names this version (R4 3.1.0.5); None where the server keeps no versions."""
        version = self.resource.get("meta", {}).get("versionId")
        return f'W/"{version}"' if version else None


@dataclass(frozen=True, slots=True)
class Exchange:
    """An open connection to one server."""

    http: httpx.Client
    base_url: str
    access: Access

    def send(
        self, method: str, path: str, *, resource: Json | None = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """Send a request and return a successful answer.

        Raises
        ------
        Transient, Permanent
            By the status of the answer (`answers`), or ``ehr-unreachable``.
        """
        answer = self._once(method, path, resource, headers or {})
        if answer.status_code == 401 and self.access.renew():
            answer = self._once(method, path, resource, headers or {})
        if not answer.is_success:
            raise failure_of(answer)
        return answer

    def _once(self, method: str, path: str, resource: Json | None, headers: dict[str, str]) -> httpx.Response:
        sent = {"Accept": FHIR_JSON, **headers}
        authorization = self.access.authorization(self.http)
        if authorization:
            sent["Authorization"] = authorization
        if resource is not None:
            sent["Content-Type"] = FHIR_JSON
        url = f"{self.base_url}/{path}" if path else self.base_url
        try:
            return self.http.request(method, url, json=resource, headers=sent)
        except httpx.HTTPError as error:
            raise Transient(
                "ehr-unreachable", f"the FHIR server did not answer ({type(error).__name__})"
            ) from error

    def the_one(self, kind: str, query: str) -> Stored | None:
        """The one resource a search finds; None where there is none.

        Raises
        ------
        Permanent
            ``several-matches``: which one is meant is for a person to say.
        """
        found = self.found(kind, query)
        if len(found) > 1:
            raise several_matches()
        return found[0] if found else None

    def found(self, kind: str, query: str) -> list[Stored]:
        """What the first page of a search lists of one type; not each of it need match (R4 3.1.1.4.2).

        Raises
        ------
        Transient, Permanent
            By the status of the answer.
        """
        # Some servers answer a repeated search from a cache; a stale answer would let us write over a signature.
        answer = self.send("GET", f"{kind}?{query}", headers={"Cache-Control": "no-cache"})
        listed = [entry.get("resource", {}) for entry in body_of(answer).get("entry", [])]
        return [Stored(resource) for resource in listed if resource.get("resourceType") == kind]

    def read(self, reference: str) -> Stored | None:
        """A resource by ``Type/id``; None where the server has it no more.

        Raises
        ------
        Transient, Permanent
            By the status of any other answer.
        """
        try:
            return Stored(body_of(self.send("GET", reference, headers={"Cache-Control": "no-cache"})))
        except Permanent as error:
            if error.code not in GONE:
                raise
            return None


def body_of(answer: httpx.Response) -> Json:
    """The answer's resource.

    Raises
    ------
    Transient
        ``not-json``.
    """
    try:
        body = answer.json()
    except ValueError as error:
        raise Transient("not-json", "the FHIR server's answer is no JSON; is base_url right?") from error
    if not isinstance(body, dict):
        raise Transient("not-json", "the FHIR server's answer is no resource; is base_url right?")
    return body
