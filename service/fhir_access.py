"""From the settings of an EHR to a client that may write there."""

from __future__ import annotations

from hl7_fhir import (
    DOCUMENT_SCOPES,
    MATCHING_SCOPES,
    REPORT_SCOPES,
    WANTED_SCOPES,
    Access,
    BearerToken,
    FhirClient,
    OpenAccess,
    SmartBackend,
    SmartClient,
    Way,
    load_key_ring,
)
from service.settings import FhirDestination, SmartSection
from service.tls import client_tls


def fhir_client(entry: FhirDestination, scopes: tuple[str, ...] = ()) -> FhirClient:
    """The client of one FHIR destination.

    Parameters
    ----------
    scopes
        What its token must allow instead of writing reports.

    Raises
    ------
    Permanent
        ``key-unreadable``, ``key-unsuitable`` or ``tls-unreadable``: the files the settings name cannot be used.
    """
    return FhirClient(
        str(entry.base_url),
        access=_access(entry, scopes),
        document_access=_document_access(entry, scopes),
        fhir_version=entry.fhir_version,
        matching=entry.matching == "search",
        way=way_of(entry),
        tls=client_tls(entry.tls) if entry.tls else None,
    )


def way_of(entry: FhirDestination) -> Way | None:
    """How reports are written there; None to go by the server's CapabilityStatement."""
    return None if entry.write == "auto" else Way(entry.write)


def smart_client(entry: FhirDestination, smart: SmartSection, scopes: tuple[str, ...] = ()) -> SmartClient:
    """How we are registered at one EHR, and what is asked for: `scopes`, else what the way of writing there needs."""
    written = {"document": DOCUMENT_SCOPES, "report": REPORT_SCOPES}.get(entry.write, WANTED_SCOPES)
    return SmartClient(
        client_id=smart.client_id,
        keys=load_key_ring(smart.keys),
        base_url=str(entry.base_url),
        token_url=str(smart.token_url or ""),
        scopes=scopes or smart.scopes or written + _matching_scopes(entry),
        jwks_url=str(smart.jwks_url or ""),
    )


def _matching_scopes(entry: FhirDestination) -> tuple[str, ...]:
    return MATCHING_SCOPES if entry.matching == "search" else ()


def _document_access(entry: FhirDestination, scopes: tuple[str, ...]) -> Access | None:
    """By a token of its own, where the server's statement may say that documents are all it takes."""
    if entry.smart is None or scopes or entry.smart.scopes or entry.write != "auto":
        return None
    return SmartBackend(smart_client(entry, entry.smart, DOCUMENT_SCOPES + _matching_scopes(entry)))


def _access(entry: FhirDestination, scopes: tuple[str, ...]) -> Access:
    if entry.smart is not None:
        return SmartBackend(smart_client(entry, entry.smart, scopes))
    if entry.bearer_token is not None:
        return BearerToken(entry.bearer_token.get_secret_value())
    return OpenAccess()
