"""Routes of the reconcile queue, for operators."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from hl7_fhir import WAITING_CODES
from service.book import Book
from service.book.reconciling import choose_patient, drop, reconcile_queue, try_again
from service.clock import now_utc
from service.http.access import actor_of


class PatientChoice(BaseModel):
    """The patient a person has chosen."""

    patient: str = Field(pattern=r"^Patient/[A-Za-z0-9.-]{1,64}$", description="the EHR's own id")


def reconcile_router(book: Book) -> APIRouter:
    """The queue and what can be decided."""
    router = APIRouter(prefix="/reconcile", tags=["reconcile"])

    @router.get("")
    def queue() -> list[dict[str, Any]]:
        """Reports that wait because it is not certain whom they are about, the oldest first."""
        return [asdict(item) for item in reconcile_queue(book.engine, WAITING_CODES)]

    @router.post("/{delivery_row_id}/retry", status_code=204)
    def retry(delivery_row_id: int, request: Request) -> None:
        """Look for the patient once more; make a delivered result anew whose patient was merged."""
        try_again(book.engine, delivery_row_id, actor=actor_of(request), now=now_utc())

    @router.post("/{delivery_row_id}/choose", status_code=204)
    def choose(delivery_row_id: int, choice: PatientChoice, request: Request) -> None:
        """Send it with the chosen patient, and every later version of the study too."""
        actor = actor_of(request)
        choose_patient(book.engine, delivery_row_id, choice.patient, actor=actor, now=now_utc())

    @router.post("/{delivery_row_id}/drop", status_code=204)
    def drop_it(delivery_row_id: int, request: Request) -> None:
        """Never send it; of a delivered result, say that it stands with the right patient."""
        drop(book.engine, delivery_row_id, actor=actor_of(request), now=now_utc())

    return router
