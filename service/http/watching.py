"""Routes of what watches the model over time."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query

from service.book import Book
from service.book.trials import trials


def watching_router(book: Book) -> APIRouter:
    """Trials of the model."""
    router = APIRouter(tags=["checks"])

    @router.get("/trials")
    def listing(limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[dict[str, Any]]:
        """Trials of the model on blank and known images, the newest first."""
        return [{**asdict(trial), "failed": trial.failed} for trial in trials(book.engine, limit=limit)]

    return router
