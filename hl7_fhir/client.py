"""Posting the transaction to a FHIR server, and what its answers mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from clinical import Permanent, Transient
from hl7_fhir.gate import check_bundle

Json = dict[str, Any]

_FHIR_JSON = "application/fhir+json"
# The same request may succeed later; every other client error stays one until somebody changes something.
_RETRIED = frozenset({408, 409, 423, 425, 429, 500, 502, 503, 504, 507})
_SIGNED = frozenset({"final", "amended", "corrected", "appended"})


@dataclass(frozen=True, slots=True)
class PostResult:
    """Status of the transaction and of each of its entries, in order."""

    http_status: int
    entries: tuple[str, ...]


class FhirClient:
    """A FHIR R4 endpoint.

    Parameters
    ----------
    base_url
        Base of the server; TLS certificates are always verified.
    bearer_token
        Sent as it is; never logged.
    """

    def __init__(self, base_url: str, *, bearer_token: str | None = None, timeout_s: float = 30.0) -> None:
        headers = {"Accept": _FHIR_JSON}
        if bearer_token:
            headers["Authorization"] = f"Bearer {bearer_token}"
        self._base_url = base_url.rstrip("/")
        self._headers = headers
        self._timeout_s = timeout_s

    def post(self, bundle: Mapping[str, Any]) -> PostResult:
        """Post a transaction that keeps every rule, unless a person has signed the report meanwhile.

        Raises
        ------
        Transient
            ``ehr-unreachable`` or ``http-<status>``: the same post may succeed later.
        Permanent
            ``fhir-invalid``, ``signed-report-exists``, ``several-matches``, ``http-<status>`` or ``entry-refused``.
        """
        check_bundle(dict(bundle))
        with httpx.Client(headers=self._headers, timeout=self._timeout_s) as client:
            self._refuse_over_signature(client, bundle)
            answer = self._send(
                client, "POST", self._base_url, json=dict(bundle), headers={"Content-Type": _FHIR_JSON}
            )
        return PostResult(answer.status_code, _entry_statuses(answer))

    def _refuse_over_signature(self, client: httpx.Client, bundle: Mapping[str, Any]) -> None:
        for entry in bundle["entry"]:
            if entry["resource"]["resourceType"] != "DiagnosticReport":
                continue
            url = f"{self._base_url}/{entry['request']['url']}"
            found = _json(self._send(client, "GET", url)).get("entry", [])
            if len(found) > 1:
                raise Permanent(
                    "several-matches",
                    "several reports have this study's identifier; a person must choose one",
                )
            for match in found:
                if match.get("resource", {}).get("status") in _SIGNED:
                    raise Permanent(
                        "signed-report-exists", "a person has signed this report; the draft is not written"
                    )

    def _send(self, client: httpx.Client, method: str, url: str, **content: Any) -> httpx.Response:
        try:
            answer = client.request(method, url, **content)
        except httpx.HTTPError as error:
            raise Transient(
                "ehr-unreachable", f"the FHIR server did not answer ({type(error).__name__})"
            ) from error
        if answer.is_success:
            return answer
        code, message = f"http-{answer.status_code}", f"the FHIR server answered {answer.status_code}"
        if answer.status_code in _RETRIED:
            raise Transient(code, message)
        raise Permanent(code, message)


def _json(answer: httpx.Response) -> Json:
    try:
        body = answer.json()
    except ValueError as error:
        raise Transient("not-json", "the FHIR server's answer is no JSON; is base_url right?") from error
    if not isinstance(body, dict):
        raise Transient("not-json", "the FHIR server's answer is no resource; is base_url right?")
    return body


def _entry_statuses(answer: httpx.Response) -> tuple[str, ...]:
    """Status of each entry; a refused one inside a successful answer is a failure all the same."""
    statuses = tuple(
        str(entry.get("response", {}).get("status", "")) for entry in _json(answer).get("entry", [])
    )
    refused = [status for status in statuses if not status.startswith("2")]
    if refused:
        raise Permanent("entry-refused", f"the FHIR server refused an entry with {refused[0][:3]}")
    return statuses
