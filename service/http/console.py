"""The console: the list of studies, and a study's page with its draft and a chat about its images."""

from __future__ import annotations

from importlib.resources import files

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, select_autoescape

from clinical import Draft, Reading
from raddraft import __version__ as VERSION
from reporting.wording import (
    NO_FINDING,
    check_words,
    concerns,
    legend_line,
    outcome_sentence,
    sentence_line,
)
from service.book import Book, InstanceState, InstanceSummary, StudyDetail, StudyState
from service.book.states import CompletedBy
from service.book.study_images import DROPPED
from service.http.access import Role, needs
from service.http.previewing import Look
from service.http.viewing import record_view
from service.profile import site_profile
from service.settings import Settings

# Nothing of a page comes from elsewhere, and no script but the one that is shipped is run.
_POLICY = (
    "default-src 'self'; style-src 'unsafe-inline'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
# Kinds of object that are pictures of their own.
_RENDERED = frozenset({"sc", "summary"})
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}


def console_router(book: Book, settings: Settings, look: Look) -> APIRouter:
    """Pages for a browser; the caller puts them behind a role."""
    router = APIRouter(include_in_schema=False)
    pages = Environment(
        loader=PackageLoader("service.http", "templates"), autoescape=select_autoescape(["html"])
    )
    scripts = {
        name: files("service.http").joinpath(f"static/{name}").read_text(encoding="utf-8")
        for name in ("study.js", "images.js")
    }

    @router.get("/", response_class=HTMLResponse)
    def console() -> HTMLResponse:
        page = pages.get_template("console.html").render(
            studies=book.studies(limit=200), counts=book.counts(), roles=book.roles(), version=VERSION
        )
        return HTMLResponse(page, headers=_HEADERS)

    @router.get("/console/studies/{study_uid}/preview", response_class=HTMLResponse)
    def previewed(request: Request, study_uid: str, destination: str) -> HTMLResponse:
        page = pages.get_template("preview.html").render(
            preview=look(request, study_uid, destination),
            banner=site_profile(settings).banner,
            shown=_RENDERED,
        )
        return HTMLResponse(page, headers=_HEADERS)

    @router.get("/console/study.js")
    def study_script() -> Response:
        return Response(scripts["study.js"], media_type="text/javascript", headers=_HEADERS)

    @router.get("/console/images.js")
    def images_script() -> Response:
        return Response(scripts["images.js"], media_type="text/javascript", headers=_HEADERS)

    @router.get("/console/studies/{study_uid}", response_class=HTMLResponse)
    def study(
        request: Request,
        study_uid: str,
        role: Role = Depends(needs(Role.VIEWER, settings.http)),  # noqa: B008
    ) -> HTMLResponse:
        detail = book.study(study_uid)
        if detail is None:
            raise HTTPException(404, "the account book has no such study")
        record_view(book, request, detail.summary.study_row_id, "page")
        chat = settings.chat
        url = f"/api/v1/studies/{detail.summary.study_instance_uid}"
        page = pages.get_template("study.html").render(
            completion=_completion(detail),
            study=detail,
            draft=detail.draft,
            readings=_readings(detail.draft),
            outcome=outcome_sentence(detail.draft) if detail.draft else "No draft yet.",
            banner=site_profile(settings).banner,
            no_finding=NO_FINDING,
            may_chat=chat.enabled and role >= Role[chat.role.upper()],
            may_drop=role >= Role.OPERATOR,
            droppable=_droppable(detail),
            limits=chat,
            destinations=[entry.name for entry in settings.destinations],
            facts={
                "chat": f"{url}/chat",
                "conversations": f"{url}/conversations",
                "max_turns": chat.max_turns,
            },
            concerns=concerns,
            check_words=check_words,
            legend_line=legend_line,
            sentence_line=sentence_line,
        )
        return HTMLResponse(page, headers=_HEADERS)

    return router


_COMPLETIONS = {
    CompletedBy.NAMED: "Read when every image was here that modality or archive had named.",
    CompletedBy.COUNT: "Read when as many objects were here as the archive has.",
    CompletedBy.QUIET: "Read when no image had come for the quiet period.",
    CompletedBy.CAP: "Read at the end of the longest wait for more images.",
    CompletedBy.OPERATOR: "Read at once, because an operator took an image out.",
    CompletedBy.EARLY: "Read early, without a wait for more images.",
}


def _completion(study: StudyDetail) -> str:
    """What ended the study's wait for images; empty while it waits."""
    if study.summary.state == StudyState.RECEIVING or not study.completed_by:
        return ""
    return _COMPLETIONS[CompletedBy(study.completed_by)]


def _droppable(study: StudyDetail) -> list[InstanceSummary]:
    """Images an operator may take out of the study: a copy goes with the one it is a copy of."""
    return [
        image
        for image in study.instances
        if image.state not in (InstanceState.DUPLICATE, InstanceState.RECEIVED)
        and image.reason_code != DROPPED
    ]


def _readings(draft: Draft | None) -> tuple[Reading, ...]:
    return draft.readings if draft is not None else ()
