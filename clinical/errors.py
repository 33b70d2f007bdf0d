"""The three kinds of failure, and what each means on every wire.

A failure is *transient* (the same work may succeed later), *permanent* (it never will), or asks for
*quarantine* (the input itself is suspect and must not be worked on again). Everything that handles an
exception decides by its kind alone, through `POLICIES`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar


class ErrorKind(StrEnum):
    """What may happen next after a failure."""

    TRANSIENT = "transient"
    PERMANENT = "permanent"
    QUARANTINE = "quarantine"


class RadDraftError(Exception):
    """A failure that is stored and shown as its kind, code and tag, never as a library's own message.

    Parameters
    ----------
    code
        Short machine-readable reason in kebab case, e.g. ``"decode-timeout"``.
    message
        One line for an operator: what happened and what to do. Holds no patient data.
    tag
        DICOM attribute or configuration key concerned, e.g. ``"(0028,0010)"``; empty where none is.
    """

    kind: ClassVar[ErrorKind]

    def __init__(self, code: str, message: str, *, tag: str = "") -> None:
        super().__init__(code, message, tag)
        self.code = code
        self.message = message
        self.tag = tag

    def __str__(self) -> str:
        where = f" {self.tag}" if self.tag else ""
        return f"{self.code}{where}: {self.message}"


class Transient(RadDraftError):
    """The same work may succeed later: a full disk, a peer that is away, a lost worker.

    Parameters
    ----------
    retry_after_s
        How long the peer asked us to stay away, in seconds; None where it did not say.
    """

    kind = ErrorKind.TRANSIENT

    def __init__(self, code: str, message: str, *, tag: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(code, message, tag=tag)
        self.retry_after_s = retry_after_s


class Permanent(RadDraftError):
    """The work can never succeed as asked, though its input is sound: unsupported, misconfigured, refused."""

    kind = ErrorKind.PERMANENT


class Quarantine(RadDraftError):
    """The input is suspect: it is kept, alarmed and not worked on again."""

    kind = ErrorKind.QUARANTINE


@dataclass(frozen=True, slots=True)
class ErrorPolicy:
    """How one kind of failure is answered.

    Attributes
    ----------
    dimse_status
        C-STORE status (PS3.4 Table B.2-1): A7xx out of resources, C0xx cannot understand.
    http_status
        Status of the HTTP API (RFC 9110).
    retried
        Whether the same work is tried again after a delay.
    """

    dimse_status: int
    http_status: int
    retried: bool


POLICIES: dict[ErrorKind, ErrorPolicy] = {
    ErrorKind.TRANSIENT: ErrorPolicy(dimse_status=0xA700, http_status=503, retried=True),
    ErrorKind.PERMANENT: ErrorPolicy(dimse_status=0xC001, http_status=422, retried=False),
    ErrorKind.QUARANTINE: ErrorPolicy(dimse_status=0xC000, http_status=422, retried=False),
}


def policy_of(error: RadDraftError) -> ErrorPolicy:
    """Policy that decides what happens after `error`."""
    return POLICIES[error.kind]
