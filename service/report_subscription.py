"""Subscriptions at EHRs that tell us of signed reports: made, renewed, made whole, and taken back when unwanted."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from threading import Event
from urllib.parse import urlsplit, urlunsplit

import structlog
from sqlalchemy import Engine

from clinical import Permanent, RadDraftError
from hl7_fhir import SUBSCRIBING_SCOPES, FhirClient, Kept, Placed, Webhook
from service.book.subscriptions import (
    PlacedSubscription,
    forget_subscription,
    note_subscription,
    placed_subscription,
    placed_subscriptions,
)
from service.clock import now_utc
from service.fhir_access import fhir_client
from service.house import House
from service.settings import FhirDestination

_log = structlog.get_logger(__name__)

# A server that gave up on us is asked again after this, and reports are polled meanwhile.
LOOK_EVERY_S = 600.0
# Path of the endpoint at our HTTP API; a proxy may show it under another.
NOTIFIED_PATH = "/fhir/notified"


def webhook(entry: FhirDestination, key: str) -> Webhook | None:
    """Where a destination's server is to tell us of signed reports; None where the site does not want that."""
    wanted = entry.subscription
    if wanted is None or entry.dry_run:
        return None
    return Webhook(
        key=key,
        url=str(wanted.endpoint),
        secret=wanted.secret.get_secret_value(),
        with_report=wanted.payload == "report",
        lasts=timedelta(days=wanted.lasts_days),
    )


def subscription_key(spool_identity: str, name: str) -> str:
    """Names the subscription of one destination of one installation."""
    return hashlib.sha256(f"{spool_identity}/{name}".encode()).hexdigest()[:32]


class SubscriptionKeeper:
    """Looks after the subscription at one EHR.

    Parameters
    ----------
    base_url
        Of the EHR's server, without credentials.
    hook
        As it is wanted; None to take back what was wanted once.
    """

    def __init__(
        self, engine: Engine, name: str, base_url: str, key: str, hook: Webhook | None, client: FhirClient
    ) -> None:
        self._engine = engine
        self._name = name
        self._base_url = base_url
        self._key = key
        self._hook = hook
        self._client = client
        self._said = ""

    def look(self) -> Kept | None:
        """Look once; what was done, None once nothing is wanted and nothing is left.

        Raises
        ------
        Transient, Permanent
            If the server cannot be asked or refuses.
        """
        now = now_utc()
        noted = placed_subscription(self._engine, self._name, self._base_url)
        known = _known(noted)
        if self._hook is None:
            self._client.remove_subscription(self._key, known)
            forget_subscription(self._engine, self._name, self._base_url)
            return None
        if noted is None:
            # Before the server has it: what an answer that is lost leaves behind is taken back too.
            end = now + self._hook.lasts
            note_subscription(self._engine, PlacedSubscription(self._name, self._base_url, end))
        result = self._client.keep_subscription(self._hook, now, known)
        if result.placed != known:
            note_subscription(self._engine, self._noted(result.placed))
        if result.left:
            _log.warning("subscriptions_left_at_server", destination=self._name, number=result.left)
        return result.kept

    def _noted(self, placed: Placed) -> PlacedSubscription:
        return PlacedSubscription(
            self._name,
            self._base_url,
            placed.end_utc,
            placed.resource_id,
            placed.content_digest,
            placed.endpoint_digest,
        )

    def run(self, stop: Event, every_s: float = LOOK_EVERY_S) -> None:
        """Look at once and then every `every_s` until `stop`, or until what was unwanted is gone."""
        pause_s = 0.0
        while not stop.wait(pause_s):
            pause_s = every_s
            try:
                kept = self.look()
            except RadDraftError as error:
                if self._hook is None and self._given_up(error):
                    return
                if self._hook is not None:
                    _log.warning("subscription_not_kept", destination=self._name, code=error.code)
                continue
            if kept is None:
                _log.info("subscription_removed", destination=self._name)
                return
            self._say(kept)

    def _say(self, kept: Kept) -> None:
        if kept is Kept.REVIVED:
            _log.warning("subscription_had_failed", destination=self._name)
        elif kept is not Kept.GOOD and kept != self._said:
            _log.info("subscription_kept", destination=self._name, kept=kept.value)
        self._said = kept

    def _given_up(self, error: RadDraftError) -> bool:
        """Say once why what is unwanted is left at the server; whether to ask no more before the next start."""
        noted = placed_subscription(self._engine, self._name, self._base_url)
        end = noted.end_utc if noted is not None else now_utc()
        if error.code != self._said:
            self._said = error.code
            _log.warning(
                "subscription_left_at_server",
                destination=self._name,
                code=error.code,
                until=end.isoformat(timespec="seconds"),
            )
        if end <= now_utc():
            forget_subscription(self._engine, self._name, self._base_url)
            return True
        return isinstance(error, Permanent)


def subscription_keepers(house: House) -> list[SubscriptionKeeper]:
    """One for each EHR that is to tell us of signed reports, and for each place where one was left."""
    engine, keepers, wanted = house.book.engine, [], set()
    entries = {entry.name: entry for entry in house.settings.destinations if entry.type == "fhir"}

    def keeper(name: str, base_url: str, hook: Webhook | None) -> SubscriptionKeeper:
        entry = entries.get(name)
        # What an address is trusted with goes to that address alone: at another one we have no credentials any more.
        known_there = entry is not None and _address(entry) == base_url
        client = (
            fhir_client(entry, SUBSCRIBING_SCOPES)
            if entry is not None and known_there
            else FhirClient(base_url)
        )
        return SubscriptionKeeper(engine, name, base_url, _key(house, name), hook, client)

    for name, entry in entries.items():
        hook = webhook(entry, _key(house, name))
        if hook is not None:
            wanted.add((name, _address(entry)))
            keepers.append(keeper(name, _address(entry), hook))
    for left in placed_subscriptions(engine):
        if (left.destination, left.base_url) not in wanted:
            keepers.append(keeper(left.destination, left.base_url, None))
    return keepers


def _key(house: House, name: str) -> str:
    return subscription_key(house.spool.identity(), name)


def _address(entry: FhirDestination) -> str:
    """Base of a destination's server without user and password, which are not to be kept."""
    parts = urlsplit(str(entry.base_url).rstrip("/"))
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _known(noted: PlacedSubscription | None) -> Placed | None:
    if noted is None or not noted.content_digest:
        return None
    return Placed(noted.resource_id, noted.content_digest, noted.endpoint_digest, noted.end_utc)
