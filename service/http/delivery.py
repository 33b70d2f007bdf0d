"""Destinations and the outbox over HTTP: how they stand, send again, hold, release."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from service.book import Book
from service.book.circuits import Circuit, circuits, hold_destination
from service.book.resending import DeliveryQuery, hold, release, resend, would_resend
from service.book.states import DeliveryState
from service.clock import now_utc
from service.http.access import actor_of


class DeliveriesChosen(BaseModel):
    """Which deliveries are meant; at least one field must choose."""

    model_config = ConfigDict(extra="forbid")

    study_uid: str = ""
    destination: str = ""
    kind: str = ""
    state: DeliveryState | None = None
    since_utc: AwareDatetime | None = None
    until_utc: AwareDatetime | None = None
    dry_run: bool = Field(False, description="only say how many (resend)")

    def query(self) -> DeliveryQuery:
        """The same for the account book."""
        found = DeliveryQuery(
            self.study_uid, self.destination, self.kind, self.state, self.since_utc, self.until_utc
        )
        if not found.chooses:
            raise HTTPException(422, "say what: a study, a destination, a kind, a time")
        return found


def destinations_router(book: Book, names: Sequence[str]) -> APIRouter:
    """For viewers: how each destination stands."""
    router = APIRouter(prefix="/destinations", tags=["delivery"])

    @router.get("")
    def destinations() -> list[dict[str, Any]]:
        """Every destination: closed (well), failing, open (left alone for a while) or held."""
        known = {circuit.destination: circuit for circuit in circuits(book.engine)}
        listed = [known.get(name, Circuit(name, False, 0, None, None, "")) for name in names]
        return [{**asdict(circuit), "state": circuit.state} for circuit in listed]

    return router


def outbox_router(book: Book, names: Sequence[str]) -> APIRouter:
    """For operators: send again, hold, release."""
    router = APIRouter(tags=["delivery"])

    def switch(request: Request, name: str, held: bool) -> dict[str, bool]:
        if name not in names:
            raise HTTPException(404, "there is no such destination")
        hold_destination(book.engine, name, held, actor=actor_of(request), now=now_utc())
        return {"held": held}

    @router.post("/destinations/{name}/hold")
    def hold_one(request: Request, name: str) -> dict[str, bool]:
        """Send nothing to a destination until it is released."""
        return switch(request, name, True)

    @router.post("/destinations/{name}/release")
    def release_one(request: Request, name: str) -> dict[str, bool]:
        """Send to a destination again, at once."""
        return switch(request, name, False)

    @router.post("/deliveries/resend")
    def resend_chosen(request: Request, chosen: DeliveriesChosen) -> dict[str, int]:
        """Send what was delivered, refused or given up again: the stored bytes of the newest draft."""
        query = chosen.query()
        if chosen.dry_run:
            return {"deliveries": would_resend(book.engine, query)}
        return {"deliveries": resend(book.engine, query, actor=actor_of(request), now=now_utc())}

    @router.post("/deliveries/hold")
    def hold_chosen(request: Request, chosen: DeliveriesChosen) -> dict[str, int]:
        """Keep waiting deliveries back."""
        return {"deliveries": hold(book.engine, chosen.query(), actor=actor_of(request), now=now_utc())}

    @router.post("/deliveries/release")
    def release_chosen(request: Request, chosen: DeliveriesChosen) -> dict[str, int]:
        """Let held deliveries go."""
        return {"deliveries": release(book.engine, chosen.query(), actor=actor_of(request), now=now_utc())}

    return router
