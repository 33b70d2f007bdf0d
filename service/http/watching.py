"""Routes of what watches the model over time."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from service.book import Book
from service.book.observations import begin_anew, drift_alarms
from service.book.trials import trials
from service.clock import now_utc
from service.http.access import actor_of


def watching_router(book: Book) -> APIRouter:
    """Trials of the model, and changes of what each device sends."""
    router = APIRouter(tags=["checks"])

    @router.get("/trials")
    def listing(limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[dict[str, Any]]:
        """Trials of the model on blank and known images, the newest first."""
        return [{**asdict(trial), "failed": trial.failed} for trial in trials(book.engine, limit=limit)]

    @router.get("/drift")
    def alarms() -> list[dict[str, Any]]:
        """What has changed of each device's images and their readings, as judged last; the oldest change first."""
        return [{**asdict(alarm), "name": alarm.device.name} for alarm in drift_alarms(book.engine)]

    return router


def drift_router(book: Book) -> APIRouter:
    """What an operator decides about a change."""
    router = APIRouter(prefix="/drift", tags=["checks"])

    @router.post("/{device}/accept", status_code=204)
    def accept(request: Request, device: int) -> None:
        """Take a device's change as known and wanted: what comes from now on is what it is compared with."""
        begin_anew(book.engine, device, actor=actor_of(request), now=now_utc())

    return router
