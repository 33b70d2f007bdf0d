"""SMART scopes of system clients: what is asked for, and whether it was granted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

# What transactions and single resources need of a server (SMART App Launch 2.2: create, update, search in this order).
WANTED = (
    "system/DiagnosticReport.cus",
    "system/Observation.cus",
    "system/ImagingStudy.cs",
    "system/Device.cs",
    "system/Provenance.cs",
)
# What finding patient and order needs besides.
WANTED_TO_MATCH = ("system/Patient.rs", "system/ServiceRequest.rs")
# What a report as one resource needs.
WANTED_FOR_REPORTS = ("system/DiagnosticReport.cus",)
# What writing documents needs, where a server takes no reports.
WANTED_FOR_DOCUMENTS = ("system/DocumentReference.cus", "system/Binary.c")
# What telling audit events needs.
WANTED_TO_AUDIT = ("system/AuditEvent.cs",)
# What following signed reports needs.
WANTED_TO_FOLLOW = (
    "system/DiagnosticReport.rs",
    "system/Patient.rs",
    "system/ServiceRequest.rs",
    "system/ImagingStudy.rs",
)
# What keeping a Subscription to them needs.
WANTED_TO_SUBSCRIBE = ("system/Subscription.cruds",)
_SCOPE = re.compile(r"system/(\*|[A-Za-z]+)\.(\*|read|write|[cruds]+)(?:\?.*)?")
_VERSION_1 = {"*": "cruds", "read": "rs", "write": "cud"}


def missing_scopes(wanted: Sequence[str], granted: Iterable[str]) -> list[str]:
    """The wanted scopes that are not covered by what was granted, in version 1 or 2 of the syntax."""
    allowed = [part for scope in granted if (part := _parts(scope)) is not None]
    return [scope for scope in wanted if not _covered(scope, allowed)]


def permissions_of(scope: str) -> tuple[str, frozenset[str]]:
    """Resource type and permissions (letters of ``cruds``) of a scope of ours."""
    parts = _parts(scope)
    if parts is None:
        raise ValueError(f"{scope} is no scope of a system's client")
    return parts


def _covered(scope: str, allowed: Sequence[tuple[str, frozenset[str]]]) -> bool:
    parts = _parts(scope)
    if parts is None:
        return False
    kind, needed = parts
    given: set[str] = set()
    for granted_kind, permissions in allowed:
        if granted_kind in ("*", kind):
            given |= permissions
    return needed <= given


def _parts(scope: str) -> tuple[str, frozenset[str]] | None:
    # A grant with a search restriction covers less than its name says: it counts as none.
    found = _SCOPE.fullmatch(scope)
    if found is None or "?" in scope:
        return None
    permissions = found.group(2)
    return found.group(1), frozenset(_VERSION_1.get(permissions, permissions))
