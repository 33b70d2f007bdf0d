"""Answers every route of DICOMweb gives in the same way."""

from __future__ import annotations

from fastapi import HTTPException, Request
from fastapi.responses import JSONResponse

from service.http.dicomweb.media_types import DICOM_JSON, JSON, MediaRange, accepted, first_covering

PREFIX = "/dicom-web"


class DicomJsonResponse(JSONResponse):
    """DICOM JSON (PS3.18 Annex F)."""

    media_type = DICOM_JSON


def service_url(request: Request) -> str:
    """Address of the service as its caller sees it, without a slash at its end."""
    return f"{str(request.base_url).rstrip('/')}{PREFIX}"


def accept_ranges(request: Request) -> tuple[MediaRange, ...]:
    """What the caller accepts; the query parameter counts before the header (PS3.18 section 8.3.3.1)."""
    return accepted(request.query_params.get("accept") or request.headers.get("accept", ""))


def require_json(request: Request) -> None:
    """Refuse a caller who does not take DICOM JSON: there is no other form of it here."""
    if first_covering(accept_ranges(request), (DICOM_JSON, JSON), multipart=False) is None:
        raise HTTPException(406, f"this is given as {DICOM_JSON}")
