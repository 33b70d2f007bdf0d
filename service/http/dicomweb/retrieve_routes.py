"""WADO-RS: the retrieval routes (PS3.18 section 10.4)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import StreamingResponse

from clinical import RadDraftError, Transient
from service.book import Book
from service.book.catalogue import Found
from service.http.dicomweb.answers import (
    DicomJsonResponse,
    accept_ranges,
    require_json,
    service_url,
)
from service.http.dicomweb.media_types import DICOM, OCTETS, first_covering
from service.http.dicomweb.multipart import Multipart
from service.http.dicomweb.retrieve import Archive
from service.http.viewing import record_view

_JPEG, _PNG = "image/jpeg", "image/png"
_THUMBNAIL_PX = (256, 256)
_TAG = re.compile(r"[0-9A-Fa-f]{8}")
_VIEWPORT_PX_MAX = 8192

T = TypeVar("T")

_STUDY = "/studies/{study_uid}"
_SERIES = _STUDY + "/series/{series_uid}"
_INSTANCE = _SERIES + "/instances/{sop_uid}"


def retrieve_router(book: Book, archive: Archive) -> APIRouter:
    """Objects, metadata, bulk data, frames and pictures."""
    router = APIRouter(tags=["DICOMweb"])
    viewer = _Viewer(book, archive)
    _add_objects(router, viewer)
    _add_metadata(router, viewer)
    _add_pixels(router, viewer)
    return router


class _Viewer:
    """What is found for a caller, written into the audit log before it is shown."""

    def __init__(self, book: Book, archive: Archive) -> None:
        self._book = book
        self.archive = archive

    def find(
        self, request: Request, study_uid: str, series_uid: str = "", sop_uid: str = ""
    ) -> tuple[Found, ...]:
        """Shown objects under an address; 404 where there are none."""
        objects = self.archive.find(study_uid, series_uid, sop_uid)
        if not objects:
            raise HTTPException(404, "nothing is held under this address")
        record_view(self._book, request, objects[0].study_id, "dicom-web")
        return objects


def _add_objects(router: APIRouter, viewer: _Viewer) -> None:
    @router.get(_STUDY, response_class=Response)
    def study(request: Request, study_uid: str) -> Response:
        """Every object of a study."""
        return _objects(request, viewer.archive, viewer.find(request, study_uid))

    @router.get(_SERIES, response_class=Response)
    def series(request: Request, study_uid: str, series_uid: str) -> Response:
        """Every object of a series."""
        return _objects(request, viewer.archive, viewer.find(request, study_uid, series_uid))

    @router.get(_INSTANCE, response_class=Response)
    def instance(request: Request, study_uid: str, series_uid: str, sop_uid: str) -> Response:
        """One object."""
        return _objects(request, viewer.archive, viewer.find(request, study_uid, series_uid, sop_uid))


def _objects(request: Request, archive: Archive, objects: Sequence[Found]) -> Response:
    ranges = accept_ranges(request)
    wanted = first_covering(ranges, (DICOM,), multipart=True)
    if wanted is None:
        wanted = first_covering(ranges, (DICOM,), multipart=False)
        if wanted is None or len(objects) > 1:
            raise HTTPException(406, f'objects are given as multipart/related; type="{DICOM}"')
    # Objects are given as they are stored: nothing a viewer gets was encoded anew on the way.
    syntax = wanted.transfer_syntax_uid
    kept = [o for o in objects if syntax in ("", "*") or archive.transfer_syntax_uid(o) == syntax]
    if not kept:
        raise HTTPException(406, "no object is stored in this transfer syntax; ask for transfer-syntax=*")
    if not (wanted.is_multipart or wanted.media_type == "*/*"):
        return StreamingResponse(archive.pieces(kept[0]), media_type=DICOM)
    body = Multipart(DICOM, ((_object_type(archive, found), archive.pieces(found)) for found in kept))
    return StreamingResponse(iter(body), media_type=body.media_type)


def _object_type(archive: Archive, found: Found) -> str:
    return f"{DICOM}; transfer-syntax={archive.transfer_syntax_uid(found)}"


def _add_metadata(router: APIRouter, viewer: _Viewer) -> None:
    def told(request: Request, objects: Sequence[Found]) -> DicomJsonResponse:
        require_json(request)
        return DicomJsonResponse(viewer.archive.metadata(objects, service_url(request)))

    @router.get(_STUDY + "/metadata")
    def study_metadata(request: Request, study_uid: str) -> DicomJsonResponse:
        """Headers of a study's objects as DICOM JSON."""
        return told(request, viewer.find(request, study_uid))

    @router.get(_SERIES + "/metadata")
    def series_metadata(request: Request, study_uid: str, series_uid: str) -> DicomJsonResponse:
        """Headers of a series' objects."""
        return told(request, viewer.find(request, study_uid, series_uid))

    @router.get(_INSTANCE + "/metadata")
    def metadata(request: Request, study_uid: str, series_uid: str, sop_uid: str) -> DicomJsonResponse:
        """Header of one object."""
        return told(request, viewer.find(request, study_uid, series_uid, sop_uid))

    @router.get(_INSTANCE + "/bulkdata/{tag}", response_class=Response)
    def bulk_data(request: Request, study_uid: str, series_uid: str, sop_uid: str, tag: str) -> Response:
        """A large value that metadata gave by its address."""
        (found,) = viewer.find(request, study_uid, series_uid, sop_uid)
        if not _TAG.fullmatch(tag):
            raise HTTPException(404, "nothing is held under this address")
        body = Multipart(OCTETS, [(OCTETS, [_or_refused(lambda: viewer.archive.bulk_data(found, tag))])])
        return StreamingResponse(iter(body), media_type=body.media_type)


def _add_pixels(router: APIRouter, viewer: _Viewer) -> None:
    @router.get(_INSTANCE + "/frames/{frame_list}", response_class=Response)
    def frames(request: Request, study_uid: str, series_uid: str, sop_uid: str, frame_list: str) -> Response:
        """Frames as they are stored, by their numbers: ``1`` or ``1,3``."""
        (found,) = viewer.find(request, study_uid, series_uid, sop_uid)
        if not re.fullmatch(r"[0-9]{1,9}(,[0-9]{1,9}){0,999}", frame_list):
            raise HTTPException(400, "frames are numbers with commas between")
        numbers = [int(number) for number in frame_list.split(",")]
        taken = _or_refused(lambda: viewer.archive.frames(found, numbers))
        # A caller who asks for octets in any transfer syntax takes compressed frames too (PS3.18 section 8.7.3.5).
        wanted = first_covering(accept_ranges(request), (taken.media_type, OCTETS), multipart=True)
        if wanted is None or not _takes(
            wanted.media_type, wanted.transfer_syntax_uid, taken.media_type, taken.transfer_syntax_uid
        ):
            raise HTTPException(
                406, f'frames of this object are given as multipart/related; type="{taken.media_type}"'
            )
        part_type = f"{taken.media_type}; transfer-syntax={taken.transfer_syntax_uid}"
        body = Multipart(taken.media_type, [(part_type, [frame]) for frame in taken.frames])
        return StreamingResponse(iter(body), media_type=body.media_type)

    @router.get(_INSTANCE + "/rendered", response_class=Response)
    def rendered(request: Request, study_uid: str, series_uid: str, sop_uid: str) -> Response:
        """The object as a picture, grayscale by the same display pipeline the model reads through."""
        (found,) = viewer.find(request, study_uid, series_uid, sop_uid)
        return _picture(request, viewer.archive, found, _viewport(request))

    @router.get(_INSTANCE + "/thumbnail", response_class=Response)
    def thumbnail(request: Request, study_uid: str, series_uid: str, sop_uid: str) -> Response:
        """A small picture."""
        (found,) = viewer.find(request, study_uid, series_uid, sop_uid)
        return _picture(request, viewer.archive, found, _THUMBNAIL_PX)


def _or_refused(make: Callable[[], T]) -> T:
    """What `make` gives; 404 where the object has no such thing. What may succeed later stays the API's 503."""
    try:
        return make()
    except Transient:
        raise
    except RadDraftError as error:
        raise HTTPException(404, f"{error.code}: {error.message}") from None


def _takes(wanted_type: str, wanted_syntax: str, media_type: str, syntax: str) -> bool:
    if wanted_syntax not in ("", "*", syntax):
        return False
    return wanted_type != OCTETS or media_type == OCTETS or wanted_syntax in ("*", syntax)


def _picture(
    request: Request, archive: Archive, found: Found, longest_px: tuple[int, int] | None
) -> Response:
    wanted = first_covering(accept_ranges(request), (_JPEG, _PNG), multipart=False)
    if wanted is None:
        raise HTTPException(406, f"pictures are given as {_JPEG} or {_PNG}")
    is_png = not wanted.covers(_JPEG)
    content = _or_refused(lambda: archive.picture(found, is_png=is_png, longest_px=longest_px))
    return Response(content, media_type=_PNG if is_png else _JPEG)


def _viewport(request: Request) -> tuple[int, int] | None:
    """Width and height of the query parameter ``viewport`` (PS3.18 section 8.3.5.1.3)."""
    text = request.query_params.get("viewport")
    if text is None:
        return None
    width, _, height = text.partition(",")
    height = height.partition(",")[0]
    if not (
        width.isdecimal() and height.isdecimal() and 0 < int(width) <= _VIEWPORT_PX_MAX >= int(height) > 0
    ):
        raise HTTPException(400, "viewport is width,height in pixels")
    return int(width), int(height)
