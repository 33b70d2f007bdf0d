"""Who may use the HTTP API: bearer tokens with roles, and this machine itself in the default configuration."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated

from fastapi import Depends, HTTPException, Request, status
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from service.settings import HttpSection, is_loopback

_BEARER = HTTPBearer(auto_error=False)


class Role(IntEnum):
    """What a caller may do; a higher role may do all a lower one may."""

    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who may use the API: `actor` is how the audit log calls it."""

    role: Role
    actor: str


def caller_of(request: Request, token: str | None, http: HttpSection) -> Caller | None:
    """The caller; None if it may not do anything.

    Where no token is configured the API is bound to loopback (the settings see to that), and callers from this
    machine are administrators.
    """
    if not http.tokens:
        host = host_of(request)
        local = is_loopback(http.host) and _is_this_machine(host)
        return Caller(Role.ADMIN, f"local:{host}") if local else None
    if token is None:
        return None
    digest = hashlib.sha256(token.encode("utf-8")).hexdigest()
    # Every entry is compared in constant time, so timing tells nothing about how much of a token was right.
    matches = [entry for entry in http.tokens if hmac.compare_digest(entry.sha256, digest)]
    return Caller(Role[matches[0].role.upper()], f"token:{matches[0].name}") if matches else None


def host_of(request: Request) -> str:
    """Address a request came from."""
    return request.client.host if request.client else ""


def actor_of(request: Request) -> str:
    """How the audit log calls the caller of a request that `needs` let pass, or refused."""
    actor: str = getattr(request.state, "actor", "") or f"http:{host_of(request)}"
    return actor


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def needs(role: Role, http: HttpSection) -> Callable[..., Role]:
    """Dependency that lets callers of `role` and above pass: 401 without a valid token, 403 with too little."""

    def check(
        request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]
    ) -> Role:
        caller = caller_of(request, credentials.credentials if credentials else None, http)
        if caller is None:
            raise HTTPException(
                status.HTTP_401_UNAUTHORIZED,
                "a valid bearer token is needed",
                headers={"WWW-Authenticate": "Bearer"},
            )
        request.state.actor = caller.actor
        if caller.role < role:
            raise HTTPException(status.HTTP_403_FORBIDDEN, f"the role {role.name.lower()} is needed")
        return caller.role

    return check
