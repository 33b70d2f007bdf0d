"""What stands at the EHR: a person's signature, a newer draft, a retraction."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from clinical import Permanent
from hl7_fhir.exchange import Exchange, Stored

Json = dict[str, Any]

# DiagnosticReport.status and DocumentReference.docStatus that only a person gives.
SIGNED = frozenset({"final", "amended", "corrected", "appended"})


def unsigned_report(exchange: Exchange, entry: Json) -> Stored | None:
    """The report an entry would update, as the server has it; None where it has none.

    Raises
    ------
    Permanent
        ``signed-report-exists``, ``newer-draft-exists`` or ``retracted-report-exists``; ``several-matches`` if there
        are several.
    """
    found = exchange.the_one(entry["resource"]["resourceType"], query_of(entry))
    if found is not None:
        refuse_signed(found)
        refuse_older(found, entry["resource"])
    return found


def refuse_signed(found: Stored) -> None:
    """Refuse to go on where a person has signed.

    Raises
    ------
    Permanent
        ``signed-report-exists``.
    """
    if SIGNED & {found.resource.get("status"), found.resource.get("docStatus")}:
        raise Permanent("signed-report-exists", "a person has signed this report; it is left as it is")


def refuse_older(found: Stored, ours: Json) -> None:
    """Refuse to write a version of the draft over a later one, or over its own retraction.

    A late retry of version 1 must not undo version 2, and a resend must not bring back what was taken back. A version
    that was drafted after the retraction is a new reading, and is written.

    Raises
    ------
    Permanent
        ``newer-draft-exists`` or ``retracted-report-exists``.
    """
    theirs_at, ours_at = _drafted_at(found.resource), _drafted_at(ours)
    if theirs_at is None or ours_at is None:
        return
    if theirs_at > ours_at:
        raise Permanent("newer-draft-exists", "a later version of this draft is there already")
    retracted = "entered-in-error"
    if found.resource.get("status") == retracted != ours.get("status") and theirs_at == ours_at:
        raise Permanent("retracted-report-exists", "this version of the draft was taken back")


def _drafted_at(resource: Json) -> datetime | None:
    try:
        at = datetime.fromisoformat(str(resource.get("issued") or resource.get("date")))
    except ValueError:
        return None
    # Without an offset it is no instant, and says nothing of before and after.
    return at if at.tzinfo is not None else None


def query_of(entry: Json) -> str:
    """The search by which an entry's resource is known: its ifNoneExist, or the query of its address."""
    request = entry["request"]
    return str(request.get("ifNoneExist") or request["url"].partition("?")[2])
