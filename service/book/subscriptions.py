"""Subscriptions that were made at EHRs' servers, so that each can be found and taken back where it lies."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Engine, select

from service.book.database import reading, writing
from service.book.tables import PlacedSubscriptionRow


@dataclass(frozen=True, slots=True)
class PlacedSubscription:
    """A destination's subscription at one address.

    Attributes
    ----------
    base_url
        Of the server, without credentials.
    end_utc
        When the server forgets it at the latest.
    resource_id
        Its id there; empty where the server did not say it.
    content_digest, endpoint_digest
        Of what was asked for and where it tells; empty until the server has answered.
    """

    destination: str
    base_url: str
    end_utc: datetime
    resource_id: str = ""
    content_digest: str = ""
    endpoint_digest: str = ""


def placed_subscriptions(engine: Engine) -> list[PlacedSubscription]:
    """All that were made, or were about to be, and are not known to be gone."""
    with reading(engine) as session:
        rows = session.scalars(select(PlacedSubscriptionRow).order_by(PlacedSubscriptionRow.destination))
        return [_placed(row) for row in rows]


def placed_subscription(engine: Engine, destination: str, base_url: str) -> PlacedSubscription | None:
    """One destination's at one address."""
    with reading(engine) as session:
        row = session.get(PlacedSubscriptionRow, (destination, base_url))
        return _placed(row) if row is not None else None


def note_subscription(engine: Engine, placed: PlacedSubscription) -> None:
    """Remember one, in place of what was remembered of it."""
    with writing(engine) as session:
        session.merge(PlacedSubscriptionRow(**asdict(placed)))


def forget_subscription(engine: Engine, destination: str, base_url: str) -> None:
    """Forget one that is gone."""
    with writing(engine) as session:
        row = session.get(PlacedSubscriptionRow, (destination, base_url))
        if row is not None:
            session.delete(row)


def _placed(row: PlacedSubscriptionRow) -> PlacedSubscription:
    return PlacedSubscription(
        row.destination, row.base_url, row.end_utc, row.resource_id, row.content_digest, row.endpoint_digest
    )
