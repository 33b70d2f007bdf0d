"""How we prove to a FHIR server who we are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import httpx


class Access(Protocol):
    """Gives the header of each request."""

    def authorization(self, http: httpx.Client) -> str | None:
        """Value of the Authorization header; None where there is none."""

    def renew(self) -> bool:
        """Forget what the server refused; whether asking again can help."""


@dataclass(frozen=True, slots=True)
class OpenAccess:
    """No credentials: a test server, or one that knows us by our TLS certificate."""

    def authorization(self, http: httpx.Client) -> str | None:
        """None."""
        return None

    def renew(self) -> bool:
        """Nothing to renew."""
        return False


@dataclass(frozen=True, slots=True)
class BearerToken:
    """A token that a person put into the configuration; never logged."""

    token: str

    def authorization(self, http: httpx.Client) -> str | None:
        """The token as it is."""
        return f"Bearer {self.token}"

    def renew(self) -> bool:
        """Only a person can."""
        return False

    def __repr__(self) -> str:
        return "BearerToken(...)"
