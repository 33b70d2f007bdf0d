"""Route by which an operator takes a stray image out of a study."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel, Field

from service.dropping import drop_image
from service.house import House
from service.http.access import actor_of


class ImageDropped(BaseModel):
    """Which image, and why; the reason is kept beside it."""

    image: str = Field(min_length=1, max_length=64, description="SOP Instance UID")
    reason: str = Field(min_length=1, max_length=255)


def dropping_router(house: House) -> APIRouter:
    """For operators."""
    router = APIRouter(prefix="/studies", tags=["studies"])

    @router.post("/{study_uid}/drop-image")
    def drop(request: Request, study_uid: str, asked: ImageDropped) -> dict[str, str]:
        """Drop one image of a study; it is read again without it, and the new version replaces the older one."""
        if house.book.study(study_uid) is None:
            raise HTTPException(404, "the account book has no such study")
        state = drop_image(house, study_uid, asked.image, asked.reason, actor=actor_of(request))
        return {"state": state}

    return router
