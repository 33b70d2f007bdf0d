"""What each answer of a FHIR server means for the one who sends: again later, never, or ask a person."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from clinical import Permanent, RadDraftError, Transient

# RFC 9110 section 15 and FHIR R4 3.1.0. True: the same request may succeed later without a change of ours. A refused
# credential is mended at the EHR or in the configuration, so its work waits instead of ending.
RETRIED = {
    400: False,
    401: True,
    403: False,
    404: False,
    405: False,
    406: False,
    408: True,
    409: True,
    410: False,
    412: True,
    413: False,
    415: False,
    422: False,
    423: True,
    425: True,
    429: True,
    500: True,
    501: False,
    502: True,
    503: True,
    504: True,
    507: True,
}
_MEANINGS = {
    401: "the FHIR server refused our credentials",
    403: "the FHIR server does not allow us to write this; check the scopes granted to us",
    404: "the FHIR server knows no such address or resource type; is base_url right?",
    413: "the FHIR server takes no request of this size",
    422: "the FHIR server calls the resource invalid",
    429: "the FHIR server asks us to slow down",
}


def failure_of(answer: httpx.Response) -> RadDraftError:
    """The failure an answer other than 2xx stands for; its body is not quoted, as it may echo the patient."""
    status = answer.status_code
    if status == 412:
        return precondition_failure(answer)
    message = _MEANINGS.get(status, f"the FHIR server answered {status}")
    if RETRIED.get(status, status >= 500):
        return Transient(f"http-{status}", message, retry_after_s=retry_after_s(answer, datetime.now(UTC)))
    return Permanent(f"http-{status}", message)


def retry_after_s(answer: httpx.Response, now: datetime) -> float | None:
    """Seconds until the server wants to be asked again (RFC 9110 section 10.2.3); None where it says nothing usable.

    Both forms are read: a number of seconds, and a date.
    """
    said = answer.headers.get("Retry-After", "").strip()
    if said.isascii() and said.isdecimal():
        return float(said)
    try:
        at = parsedate_to_datetime(said)
    except (TypeError, ValueError):
        return None
    # A date without a zone that is named is one in UTC (RFC 5322 section 4.3).
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return max((at - now).total_seconds(), 0.0)


def entry_failure(status: str) -> RadDraftError:
    """The failure of one entry inside a successful answer, by its status line."""
    code = int(status[:3]) if status[:3].isdigit() else 0
    message = f"the FHIR server refused an entry of the transaction with {code}"
    return _failure(RETRIED.get(code, code >= 500), "entry-refused", message)


def precondition_failure(answer: httpx.Response) -> RadDraftError:
    """412: several resources match (a person must choose), or somebody changed ours since we read it."""
    if "multiple-matches" in _issue_codes(answer):
        return several_matches()
    return Transient("changed-meanwhile", "somebody changed the resource since it was read; it is read again")


def several_matches() -> Permanent:
    """More than one resource has an identifier that only we give."""
    return Permanent("several-matches", "several resources have our identifier; a person must choose one")


def _failure(retried: bool, code: str, message: str) -> RadDraftError:
    return Transient(code, message) if retried else Permanent(code, message)


def _issue_codes(answer: httpx.Response) -> set[str]:
    try:
        issues = answer.json().get("issue", [])
        return {str(issue.get("code", "")) for issue in issues}
    except (ValueError, AttributeError):
        return set()
