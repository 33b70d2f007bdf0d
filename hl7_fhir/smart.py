"""SMART Backend Services (SMART App Launch 2.2): a token for a client that signs with its own key."""

from __future__ import annotations

import ipaddress
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
import jwt

from clinical import Permanent, Transient
from hl7_fhir.answers import retry_after_s
from hl7_fhir.keys import KeyRing
from hl7_fhir.scopes import WANTED, missing_scopes

Json = dict[str, Any]

_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
# "no more than five minutes in the future"; less leaves room for clocks that differ.
_ASSERTION_LIFETIME_S = 240
# RFC 6749 section 5.2: of these only the client itself may be mended at the far end (a key not fetched yet).
_PERMANENT = frozenset({"invalid_scope", "unauthorized_client", "unsupported_grant_type", "invalid_request"})
_KNOWN = _PERMANENT | {"invalid_client", "invalid_grant"}


@dataclass(frozen=True, slots=True)
class SmartClient:
    """How we are registered at one EHR.

    Attributes
    ----------
    token_url
        Token endpoint; empty to find it by the server's ``.well-known/smart-configuration``.
    jwks_url
        Where a site publishes our keys; named in the header of each assertion where it is given.
    """

    client_id: str
    keys: KeyRing
    base_url: str
    token_url: str = ""
    scopes: tuple[str, ...] = WANTED
    jwks_url: str = ""


@dataclass(frozen=True, slots=True)
class _Token:
    value: str = field(repr=False)
    good_until: float


class SmartBackend:
    """Access by tokens that are fetched when needed and kept until shortly before they expire; one per process.

    Processes need not agree: a client-credentials grant takes no earlier token back (RFC 6749 section 4.4), so each
    holds one of its own, and the lock keeps the threads of one process from fetching more.
    """

    def __init__(self, client: SmartClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._lock = threading.Lock()
        self._token: _Token | None = None

    def authorization(self, http: httpx.Client) -> str:
        """The current token; the first caller fetches one while the others wait.

        Raises
        ------
        Transient
            ``token-unreachable``, or ``token-refused`` where the EHR may accept us later.
        Permanent
            ``token-refused``, ``token-endpoint`` or ``scope-missing``.
        """
        with self._lock:
            if self._token is None or self._clock() >= self._token.good_until:
                self._token = self._fetch(http)
            return f"Bearer {self._token.value}"

    def renew(self) -> bool:
        """Forget the token the server refused; a new one may be accepted."""
        with self._lock:
            self._token = None
        return True

    def _fetch(self, http: httpx.Client) -> _Token:
        asked_at = self._clock()
        url = self._client.token_url or self._discovered(http)
        _refuse_plain(url)
        form = {
            "grant_type": "client_credentials",
            "scope": " ".join(self._client.scopes),
            "client_assertion_type": _ASSERTION_TYPE,
            "client_assertion": self._assertion(url),
        }
        answer = _request(http, "POST", url, data=form)
        body = _body(answer)
        if not answer.is_success:
            wait_s = retry_after_s(answer, datetime.now(UTC))
            raise _refused(answer.status_code, str(body.get("error", "")), wait_s)
        return self._accepted(body, asked_at)

    def _accepted(self, body: Json, asked_at: float) -> _Token:
        token = body.get("access_token")
        if not isinstance(token, str) or not token:
            raise Transient("token-refused", "the token endpoint's answer holds no access_token")
        # RFC 6749 section 5.1: without a scope in the answer, what was asked for was granted.
        granted = str(body["scope"]).split() if body.get("scope") else list(self._client.scopes)
        missing = missing_scopes(self._client.scopes, granted)
        if missing:
            raise Permanent("scope-missing", f"the EHR did not grant {' '.join(missing)}")
        lifetime = float(body.get("expires_in", 300))
        return _Token(token, asked_at + max(0.0, min(lifetime - 60.0, lifetime * 0.8)))

    def _assertion(self, audience: str) -> str:
        key = self._client.keys.signing
        now = int(time.time())
        claims = {
            "iss": self._client.client_id,
            "sub": self._client.client_id,
            "aud": audience,
            "iat": now,
            "exp": now + _ASSERTION_LIFETIME_S,
            "jti": str(uuid.uuid4()),
        }
        headers = {"kid": key.key_id}
        if self._client.jwks_url:
            headers["jku"] = self._client.jwks_url
        return jwt.encode(claims, key.private_key, algorithm=key.algorithm, headers=headers)

    def _discovered(self, http: httpx.Client) -> str:
        url = f"{self._client.base_url.rstrip('/')}/.well-known/smart-configuration"
        found = _body(_request(http, "GET", url)).get("token_endpoint")
        if not isinstance(found, str):
            raise Permanent(
                "token-endpoint", "the server's smart-configuration names no token endpoint; set token_url"
            )
        return found


def _request(
    http: httpx.Client, method: str, url: str, data: Mapping[str, str] | None = None
) -> httpx.Response:
    try:
        return http.request(method, url, data=data, headers={"Accept": "application/json"})
    except httpx.HTTPError as error:
        raise Transient(
            "token-unreachable", f"the token endpoint did not answer ({type(error).__name__})"
        ) from error


def _body(answer: httpx.Response) -> Json:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _refused(status: int, error: str, wait_s: float | None) -> Permanent | Transient:
    """OAuth's error codes are a closed list; anything else the server wrote is not repeated."""
    named = error if error in _KNOWN else f"status {status}"
    message = f"the token endpoint refused us: {named}"
    if error in _PERMANENT:
        return Permanent("token-refused", message)
    return Transient("token-refused", message, retry_after_s=wait_s)


def _refuse_plain(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme == "https":
        return
    host = parts.hostname or ""
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise Permanent(
            "token-endpoint", "the token endpoint is not reached by https; nothing is signed for it"
        )
