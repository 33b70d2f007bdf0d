"""Route by which an EHR's server tells us that a report was signed (R4 2.46, rest-hook)."""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from fastapi import APIRouter, HTTPException, Request, Response, status
from sqlalchemy import Engine

from service.clock import now_utc
from service.doorbell import Doorbell
from service.report_subscription import NOTIFIED_PATH
from service.settings import FhirDestination, Settings


def notifying_router(settings: Settings, engine: Engine) -> APIRouter:
    """For the servers of destinations with a subscription, each by its own secret, which opens nothing else.

    What a notification says is not read: the server itself is asked which reports are signed.
    """
    router = APIRouter(prefix=NOTIFIED_PATH, tags=["notifications"])
    doors = {
        entry.name: (entry.subscription.secret.get_secret_value(), Doorbell(engine, entry.name))
        for entry in settings.destinations
        if isinstance(entry, FhirDestination) and entry.subscription is not None
    }

    def notified(request: Request, destination: str) -> Response:
        """Have the server asked soon which reports were signed; the body is not looked at."""
        _door(doors, destination, request.headers.get("authorization", "")).ring(now_utc())
        return Response(status_code=status.HTTP_204_NO_CONTENT)

    # Without a payload it is a POST; with one, some servers PUT the report to Type/id below the endpoint.
    for method in ("POST", "PUT") if doors else ():
        for path in ("/{destination}", "/{destination}/{report:path}"):
            router.add_api_route(path, notified, methods=[method], status_code=204, include_in_schema=False)
    return router


def _door(doors: Mapping[str, tuple[str, Doorbell]], destination: str, authorization: str) -> Doorbell:
    # An unknown name is answered as a wrong secret is, so that nobody learns names.
    secret, bell = doors.get(destination, ("", None))
    right = hmac.compare_digest(authorization.encode(), f"Bearer {secret}".encode())
    if bell is None or not right:
        raise HTTPException(
            status.HTTP_401_UNAUTHORIZED,
            "the secret of a subscription is needed",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return bell
