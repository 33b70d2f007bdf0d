"""What every section is made of: names, ports, addresses without their passwords, TLS towards others."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, StringConstraints

# PS3.5 section 6.2: an AE title is 1 to 16 characters of the default repertoire without backslash.
AeTitle = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[\x20-\x5b\x5d-\x7e]{1,16}$")]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$")]
Port = Annotated[int, Field(ge=1, le=65535)]

# RFC 3986 section 3.2.1: user information stands before the last "@" of the authority.
_PASSWORD = re.compile(r"(?<=://)([^/?#]*?):[^/?#]*(?=@)")


def _without_password(url: object) -> str | None:
    return None if url is None else _PASSWORD.sub(r"\1:**********", str(url))


# Printed without its password: what is shown of a configuration ends up in tickets and logs.
Masked = PlainSerializer(_without_password, return_type=str | None)
ServiceUrl = Annotated[str | None, Masked]


class Section(BaseModel):
    """A part of the configuration: immutable, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ClientTlsSection(Section):
    """TLS towards a receiver beyond the system's own authorities."""

    ca: Path | None = Field(
        None, description="PEM certificates of the authorities to trust instead of the system's"
    )
    cert: Path | None = Field(None, description="our client certificate (mutual TLS)")
    key: Path | None = Field(None, description="its private key; default: in the same file")


def is_loopback(host: str) -> bool:
    """Whether a bind address is reachable from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
