"""The HTTP API and the console."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exception_handlers import http_exception_handler
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, Field

from clinical import RadDraftError, policy_of
from dicom_node import PosixSpool, Spool
from raddraft import __version__ as VERSION
from reporting import RejectionReason
from service.auditing import RefusalLog
from service.book import Book, StudyCursor, StudyState
from service.book.audit import Action, Subject, audit_entries, verify_audit
from service.book.final_reports import agreement, signed_studies
from service.chat_channel import open_chat_channel
from service.clock import now_utc
from service.house import House, broker_url
from service.http.access import Role, actor_of, needs
from service.http.chat import chat_router
from service.http.console import console_router
from service.http.delivery import destinations_router, outbox_router
from service.http.dicomweb import dicomweb_router
from service.http.dropping import dropping_router
from service.http.metrics import metrics_text
from service.http.notifying import notifying_router
from service.http.previewing import looking, preview_router
from service.http.reconciling import reconcile_router
from service.http.viewing import record_view
from service.http.watching import drift_router, watching_router
from service.retracting import retract_study
from service.settings import Settings


class RetractionRequest(BaseModel):
    """Why a report is taken back; those who read it in the EHR will see it."""

    reason: str = Field(min_length=1, max_length=255)
    rejection: RejectionReason = Field(
        RejectionReason.QUALITY, description="what archives that take rejections are told"
    )


def create_app(
    settings: Settings, book: Book, *, spool: PosixSpool, results: PosixSpool, readiness: Callable[[], str]
) -> FastAPI:
    """The API on an account book.

    Parameters
    ----------
    readiness
        Why the installation is not ready, in one line; empty when it is.
    """
    # The interactive documentation is a route like the others: it is added below, behind a role.
    app = FastAPI(title="RadDraft", version=VERSION, docs_url=None, redoc_url=None, openapi_url=None)
    viewer = [Depends(needs(Role.VIEWER, settings.http))]
    operator = [Depends(needs(Role.OPERATOR, settings.http))]
    house = House(settings, book, spool, results)
    app.include_router(_health(readiness))
    app.include_router(notifying_router(settings, book.engine))
    app.include_router(_studies(book, results), prefix="/api/v1", dependencies=viewer)
    app.include_router(
        chat_router(settings, book, open_chat_channel(broker_url(settings))),
        prefix="/api/v1",
        dependencies=[Depends(needs(Role[settings.chat.role.upper()], settings.http))],
    )
    look = looking(house)
    app.include_router(preview_router(look), prefix="/api/v1", dependencies=viewer)
    app.include_router(_retraction(house), prefix="/api/v1", dependencies=operator)
    app.include_router(dropping_router(house), prefix="/api/v1", dependencies=operator)
    app.include_router(dicomweb_router(house))
    app.include_router(reconcile_router(book), prefix="/api/v1", dependencies=operator)
    app.include_router(_account(book, spool), dependencies=viewer)
    app.include_router(watching_router(book), prefix="/api/v1", dependencies=viewer)
    app.include_router(drift_router(book), prefix="/api/v1", dependencies=operator)
    names = [entry.name for entry in settings.destinations]
    app.include_router(destinations_router(book, names), prefix="/api/v1", dependencies=viewer)
    app.include_router(outbox_router(book, names), prefix="/api/v1", dependencies=operator)
    app.include_router(console_router(book, settings, look), dependencies=viewer)
    app.include_router(_documentation(app), dependencies=viewer)
    app.include_router(
        _audit(book), prefix="/api/v1", dependencies=[Depends(needs(Role.ADMIN, settings.http))]
    )
    app.add_exception_handler(RadDraftError, _error)
    _record_refusals(app, book)
    return app


def _record_refusals(app: FastAPI, book: Book) -> None:
    """Callers without a token, or with one that may not do this, go into the audit log."""
    refusals = RefusalLog(book.engine)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        if error.status_code in (401, 403):
            code = "no-valid-token" if error.status_code == 401 else "role-too-low"
            await run_in_threadpool(refusals.refused, actor_of(request), code, now=now_utc())
        return await http_exception_handler(request, error)


async def _error(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RadDraftError):
        raise error
    body = {"kind": error.kind.value, "code": error.code, "message": error.message}
    return JSONResponse(body, status_code=policy_of(error).http_status)


def _health(readiness: Callable[[], str]) -> APIRouter:
    router = APIRouter(prefix="/health", tags=["health"])

    @router.get("/live")
    def live() -> dict[str, str]:
        """Whether this process answers."""
        return {"status": "live", "version": VERSION}

    @router.get("/ready")
    def ready() -> JSONResponse:
        """Whether studies sent now would be read and delivered; 503 with the reason if not."""
        reason = readiness()
        if reason:
            return JSONResponse({"status": "not ready", "reason": reason}, status_code=503)
        return JSONResponse({"status": "ready"})

    return router


def _studies(book: Book, results: Spool) -> APIRouter:
    router = APIRouter(prefix="/studies", tags=["studies"])

    @router.get("")
    def studies(
        request: Request,
        response: Response,
        state: StudyState | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        offset: Annotated[int, Query(ge=0, le=100_000)] = 0,
        after: Annotated[str, Query(description="a place in the list, from the Link header of a page")] = "",
    ) -> list[dict[str, Any]]:
        """Studies, the most recently changed first; the Link header leads to the next page (RFC 8288)."""
        place = StudyCursor.parse(after) if after else None
        found = book.studies(state=state.value if state else None, limit=limit, offset=offset, after=place)
        if len(found) == limit:
            following = request.url.remove_query_params("offset").include_query_params(
                after=str(StudyCursor.of(found[-1]))
            )
            response.headers["Link"] = f'<{following.path}?{following.query}>; rel="next"'
        return [asdict(s) for s in found]

    @router.get("/{study_uid}")
    def study(request: Request, study_uid: str) -> dict[str, Any]:
        """One study: its objects, its deliveries, its newest Draft."""
        detail = book.study(study_uid)
        if detail is None:
            raise HTTPException(404, "the account book has no such study")
        record_view(book, request, detail.summary.study_row_id, "study")
        return asdict(detail)

    @router.get("/{study_uid}/overlay.png", response_class=Response)
    def overlay(request: Request, study_uid: str, image: str = "") -> Response:
        """The radiograph with its boxes; the first analysed frontal image unless `image` names another."""
        artefact = book.artefact(study_uid, "overlay", image)
        if artefact is None:
            raise HTTPException(404, "there is no overlay for this study or image")
        record_view(book, request, book.study_row_id(study_uid), "overlay")
        with results.open(artefact.spool_key) as file:
            return Response(file.read(), media_type="image/png")

    return router


def _retraction(house: House) -> APIRouter:
    router = APIRouter(prefix="/studies", tags=["studies"])

    @router.post("/{study_uid}/retract")
    def retract(request: Request, study_uid: str, asked: RetractionRequest) -> dict[str, list[str]]:
        """Take a study's results back at every EHR, and at every archive that takes rejections."""
        if house.book.study(study_uid) is None:
            raise HTTPException(404, "the account book has no such study")
        places = retract_study(
            house, study_uid, asked.reason, actor=actor_of(request), rejection=asked.rejection
        )
        return {"destinations": places}

    return router


def _audit(book: Book) -> APIRouter:
    router = APIRouter(prefix="/audit", tags=["audit"])

    @router.get("")
    def entries(
        after: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
        action: Action | None = None,
        study: Annotated[int | None, Query(description="row number of a study")] = None,
    ) -> list[dict[str, Any]]:
        """Who did what, oldest first; the next page is `after` the last number."""
        subject = Subject.STUDY if study is not None else None
        found = audit_entries(
            book.engine, after=after, limit=limit, action=action, subject=subject, subject_id=study
        )
        return [asdict(entry) for entry in found]

    @router.get("/verify")
    def verify(head: str = "") -> dict[str, Any]:
        """Whether every row follows from the one before; `head` is one kept from an earlier verification."""
        verdict = verify_audit(book.engine, head)
        return {**asdict(verdict), "whole": verdict.whole}

    return router


def _account(book: Book, spool: Spool) -> APIRouter:
    router = APIRouter(tags=["account"])

    @router.get("/api/v1/account")
    def account(deep: bool = False) -> dict[str, Any]:
        """The balance of receipts, rows and files."""
        return book.account(spool, deep=deep).as_json()

    @router.get("/api/v1/agreement")
    def agreed() -> dict[str, Any]:
        """How often drafts and the signed reports that came afterwards agree: studies by label and verdict."""
        return {"signed_studies": signed_studies(book.engine), "labels": agreement(book.engine)}

    @router.get("/metrics", response_class=Response)
    def metrics() -> Response:
        """Prometheus metrics."""
        return Response(metrics_text(book), media_type="text/plain; version=0.0.4")

    return router


def _documentation(app: FastAPI) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/openapi.json")
    def openapi() -> dict[str, Any]:
        return app.openapi()

    @router.get("/docs", response_class=HTMLResponse)
    def docs() -> HTMLResponse:
        return get_swagger_ui_html(openapi_url="/openapi.json", title="RadDraft API")

    return router
