"""The sender over HTTP: STOW-RS as a user agent (PS3.18 section 10.5), with the outcome of the object."""

from __future__ import annotations

import secrets
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from clinical import Permanent, RadDraftError, Transient

_DICOM_JSON = "application/dicom+json"
# RFC 9110 section 15: the same request may succeed later. A refused credential is mended at the archive or in the
# configuration, so its work waits instead of ending.
_RETRIED = frozenset({401, 408, 423, 425, 429, 500, 502, 503, 504, 507})
_MEANINGS = {
    401: "the archive refused our credentials",
    403: "the archive does not allow us to store",
    404: "the archive knows no such address; is base_url right?",
    413: "the archive takes no object of this size",
    415: "the archive takes no multipart/related of DICOM objects",
}
# PS3.18 Table I.2-2 and PS3.7 Annex C.
_DUPLICATE = 0x0111
_SOP_CLASS_NOT_SUPPORTED = 0x0122
_TRANSFER_SYNTAX_NOT_SUPPORTED = 0xC122
_WARNING_REASON, _FAILURE_REASON = "00081196", "00081197"
_STORED, _FAILED, _OTHER_FAILURES = "00081199", "00081198", "0008119A"


@dataclass(frozen=True, slots=True)
class StowResult:
    """How an object was stored: the HTTP status, and what the archive noted about it."""

    http_status: int
    note: str = ""


class StowClient:
    """An archive that takes objects by STOW-RS.

    Parameters
    ----------
    base_url
        Base of the DICOMweb service; ``/studies`` follows it.
    authorization
        Value of the Authorization header; empty for none.
    tls
        A context with a client certificate or a site's own authority; the system's authorities by default.
        Certificates are always verified.
    """

    def __init__(
        self,
        base_url: str,
        *,
        authorization: str = "",
        tls: ssl.SSLContext | None = None,
        timeout_s: float = 60.0,
    ) -> None:
        self._url = f"{base_url.rstrip('/')}/studies"
        self._headers = {"Authorization": authorization} if authorization else {}
        self._tls = tls
        self._timeout_s = timeout_s

    def store(self, content: bytes) -> StowResult:
        """Store one DICOM file, byte for byte.

        Raises
        ------
        Transient
            ``archive-unreachable``, ``http-<status>`` or ``stow-failed``: the same may succeed later.
        Permanent
            ``not-negotiated`` where the archive takes no such object, ``http-<status>`` where it never will.
        """
        boundary = secrets.token_hex(16)
        head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode("ascii")
        body = b"".join((head, content, f"\r\n--{boundary}--\r\n".encode("ascii")))
        headers = {
            **self._headers,
            "Accept": _DICOM_JSON,
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
        }
        try:
            with httpx.Client(timeout=self._timeout_s, verify=self._tls or True) as http:
                answer = http.post(self._url, content=body, headers=headers)
        except httpx.HTTPError as error:
            # The library's text may quote the address with a password in it.
            raise Transient(
                "archive-unreachable", f"no answer from the archive ({type(error).__name__}); check base_url"
            ) from None
        return _judged(answer)


def _judged(answer: httpx.Response) -> StowResult:
    told = _told(answer)
    reasons = _reasons(told, _FAILED, _FAILURE_REASON) + _reasons(told, _OTHER_FAILURES, _FAILURE_REASON)
    if reasons and set(reasons) == {_DUPLICATE}:
        # An answer was lost on its way: the object is there from an earlier try, and ours never change.
        return StowResult(answer.status_code, "it was there already")
    if reasons:
        raise _refusal(reasons[0])
    if answer.status_code not in (200, 202):
        raise _failure(answer.status_code)
    warnings = _reasons(told, _STORED, _WARNING_REASON)
    note = f"the archive stored it with warning 0x{warnings[0]:04X}" if warnings else ""
    return StowResult(answer.status_code, note)


def _told(answer: httpx.Response) -> Mapping[str, Any]:
    """The Store Instances Response; empty where the archive does not answer in JSON."""
    try:
        told = answer.json()
    except ValueError:
        return {}
    if isinstance(told, list):
        told = told[0] if told else {}
    return told if isinstance(told, dict) else {}


def _reasons(told: Mapping[str, Any], sequence: str, attribute: str) -> list[int]:
    try:
        items = told.get(sequence, {}).get("Value") or []
        values = [(item.get(attribute, {}).get("Value") or [0])[0] for item in items]
        reasons = [int(value) for value in values]
    except (AttributeError, TypeError, ValueError):
        raise Transient("stow-failed", "the archive's answer is no Store Instances Response") from None
    # A failed item without a reason is a failure all the same; without a warning a stored one is only stored.
    return reasons if attribute == _FAILURE_REASON else [reason for reason in reasons if reason]


def _refusal(reason: int) -> RadDraftError:
    if reason in (_SOP_CLASS_NOT_SUPPORTED, _TRANSFER_SYNTAX_NOT_SUPPORTED):
        return Permanent("not-negotiated", f"the archive takes no object of this kind (0x{reason:04X})")
    # An archive that refuses today (A7xx out of resources, C0xx) may take it tomorrow: the outbox keeps trying.
    return Transient("stow-failed", f"the archive refused the object with 0x{reason:04X}")


def _failure(status: int) -> RadDraftError:
    kind = Transient if status in _RETRIED or status == 409 else Permanent
    return kind(f"http-{status}", _MEANINGS.get(status, f"the archive answered {status}"))
