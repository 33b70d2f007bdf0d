"""A person's word stands: what somebody has signed is never written over."""

from __future__ import annotations

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
        ``signed-report-exists`` if a person has signed it, ``several-matches`` if there are several.
    """
    found = exchange.the_one(entry["resource"]["resourceType"], query_of(entry))
    if found is not None:
        refuse_signed(found)
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


def query_of(entry: Json) -> str:
    """The search by which an entry's resource is known: its ifNoneExist, or the query of its address."""
    request = entry["request"]
    return str(request.get("ifNoneExist") or request["url"].partition("?")[2])
