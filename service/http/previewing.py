"""What a destination gets of a study, over HTTP: to be looked at, never sent from here."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request

from service.destinations import Destination
from service.house import House
from service.http.viewing import record_view
from service.previewing import Preview, preview

Look = Callable[[Request, str, str], Preview]


def looking(house: House) -> Look:
    """Gives the preview of a study at a destination, written into the audit log before it is shown."""

    @cache
    def places() -> tuple[Destination, ...]:
        from service.io_worker import destinations

        # Keys and certificates are read here: a site without previews needs none in this process.
        return destinations(house.settings)

    def look(request: Request, study_uid: str, destination: str) -> Preview:
        if destination not in [entry.name for entry in house.settings.destinations]:
            raise HTTPException(404, "there is no such destination")
        if house.book.study(study_uid) is None:
            raise HTTPException(404, "the account book has no such study")
        found = preview(house, places(), study_uid, destination)
        record_view(house.book, request, house.book.study_row_id(study_uid), f"preview {destination}")
        return found

    return look


def preview_router(look: Look) -> APIRouter:
    """For viewers: what one destination gets."""
    router = APIRouter(prefix="/studies", tags=["studies"])

    @router.get("/{study_uid}/preview")
    def previewed(
        request: Request, study_uid: str, destination: Annotated[str, Query(description="its name")]
    ) -> Preview:
        """Every message, document and object one destination gets of the newest draft; nothing is sent."""
        return look(request, study_uid, destination)

    return router
