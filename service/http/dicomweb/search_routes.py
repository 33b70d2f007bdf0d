"""QIDO-RS: the search routes (PS3.18 section 10.6)."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException, Request

from service.book import Book
from service.book.catalogue import Level, search
from service.http.dicomweb.answers import DicomJsonResponse, require_json, service_url
from service.http.dicomweb.catalogue import Cataloguer
from service.http.dicomweb.query import BadQuery, read_query
from service.http.dicomweb.search import result_json
from service.http.viewing import record_search


def search_router(book: Book, cataloguer: Cataloguer) -> APIRouter:
    """Searches for studies, series and objects over everything, in a study, and in a series."""
    router = APIRouter(tags=["DICOMweb"])

    def found(request: Request, level: Level, **fixed: tuple[str, ...]) -> DicomJsonResponse:
        require_json(request)
        try:
            query = read_query(level, request.query_params.multi_items(), **fixed)
        except BadQuery as error:
            raise HTTPException(400, error.message) from None
        cataloguer.catch_up()
        # One more than asked for tells whether there are more.
        groups = search(book.engine, level, query.criteria, limit=query.limit + 1, offset=query.offset)
        record_search(book, request, {group[0].study_id for group in groups[: query.limit]})
        base_url = service_url(request)
        warnings = []
        if len(groups) > query.limit:
            warnings.append("there are more results; ask with a greater offset")
        if query.is_fuzzy:
            warnings.append("fuzzy matching is not done; only literal matching was")
        return DicomJsonResponse(
            [result_json(level, group, base_url) for group in groups[: query.limit]],
            headers={"Warning": ", ".join(f'299 {base_url} "{text}"' for text in warnings)}
            if warnings
            else None,
        )

    @router.get("/studies")
    def studies(request: Request) -> DicomJsonResponse:
        """Studies held, newest first, as DICOM JSON."""
        return found(request, Level.STUDY)

    @router.get("/series")
    def series(request: Request) -> DicomJsonResponse:
        """Series held."""
        return found(request, Level.SERIES)

    @router.get("/instances")
    def instances(request: Request) -> DicomJsonResponse:
        """Objects held."""
        return found(request, Level.INSTANCE)

    @router.get("/studies/{study_uid}/series")
    def series_of_study(request: Request, study_uid: str) -> DicomJsonResponse:
        """Series of a study."""
        return found(request, Level.SERIES, study_instance_uids=(study_uid,))

    @router.get("/studies/{study_uid}/instances")
    def instances_of_study(request: Request, study_uid: str) -> DicomJsonResponse:
        """Objects of a study."""
        return found(request, Level.INSTANCE, study_instance_uids=(study_uid,))

    @router.get("/studies/{study_uid}/series/{series_uid}/instances")
    def instances_of_series(request: Request, study_uid: str, series_uid: str) -> DicomJsonResponse:
        """Objects of a series."""
        return found(
            request, Level.INSTANCE, study_instance_uids=(study_uid,), series_instance_uids=(series_uid,)
        )

    return router
