"""STOW-RS: the storage routes (PS3.18 section 10.5)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import APIRouter, HTTPException, Request

from clinical import Permanent
from dicom_node import Caller, Reception
from service.book.receipts import OVER_HTTP
from service.http.access import actor_of, host_of
from service.http.dicomweb.answers import DicomJsonResponse, require_json, service_url
from service.http.dicomweb.media_types import DICOM, MULTIPART, content_type
from service.http.dicomweb.store import Storing
from service.settings import NodeSection

# Requests taken in at once; each holds the head of one object in memory (1 MiB at most) and a file open.
_AT_ONCE = 8
_RETRY_AFTER_S = 5


def store_router(reception: Reception, node: NodeSection) -> APIRouter:
    """Storage of new objects, of any study and of the one in the path."""
    router = APIRouter(tags=["DICOMweb"])
    free = asyncio.Semaphore(_AT_ONCE)

    async def store(request: Request, study_uid: str) -> DicomJsonResponse:
        require_json(request)
        boundary = _boundary(request)
        if free.locked():
            raise HTTPException(
                503, "too many storage requests at once", headers={"Retry-After": str(_RETRY_AFTER_S)}
            )
        caller = Caller(actor_of(request), host_of(request), OVER_HTTP)
        storing = Storing(reception, caller, study_uid=study_uid)
        async with free, aclosing(_body(request, node.network_timeout_s)) as body:
            try:
                outcome = await storing.take(body, boundary)
            except Permanent as error:
                raise HTTPException(400, error.message) from None
        told = outcome.as_json(service_url(request))
        return DicomJsonResponse(told, status_code=outcome.http_status)

    @router.post("/studies")
    async def store_any(request: Request) -> DicomJsonResponse:
        """Store objects; each is on disk and in the account book before this answers."""
        return await store(request, "")

    @router.post("/studies/{study_uid}")
    async def store_in_study(request: Request, study_uid: str) -> DicomJsonResponse:
        """Store objects of one study; objects of others are refused."""
        return await store(request, study_uid)

    return router


def _boundary(request: Request) -> str:
    kind, parameters = content_type(request.headers.get("content-type", ""))
    if kind != MULTIPART or parameters.get("type", DICOM).lower() != DICOM:
        raise HTTPException(415, f'objects are taken as {MULTIPART}; type="{DICOM}"')
    boundary = parameters.get("boundary", "")
    if not boundary:
        raise HTTPException(400, "the Content-Type names no boundary")
    return boundary


async def _body(request: Request, silence_s: float) -> AsyncGenerator[bytes, None]:
    """The request's body; a sender silent for `silence_s` is not waited for."""
    pieces = request.stream().__aiter__()
    while True:
        try:
            yield await asyncio.wait_for(anext(pieces), silence_s)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise HTTPException(408, "the body did not arrive in time") from None
