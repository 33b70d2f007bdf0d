"""Subscriptions at EHRs that tell us of signed reports: made, renewed, made whole, and taken back when unwanted."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from threading import Event

import structlog
from sqlalchemy import Engine

from clinical import RadDraftError
from hl7_fhir import FhirClient, Kept, Webhook
from service.book.followed import followed_to, forget_followed, note_followed
from service.clock import now_utc
from service.settings import FhirDestination

_log = structlog.get_logger(__name__)

# A server that gave up on us is asked again after this, and reports are polled meanwhile.
LOOK_EVERY_S = 600.0
# Path of the endpoint at our HTTP API; a proxy may show it under another.
NOTIFIED_PATH = "/fhir/notified"


def webhook(entry: FhirDestination, key: str) -> Webhook | None:
    """Where a destination's server is to tell us of signed reports; None where the site wants polling alone."""
    wanted = entry.subscription
    if wanted is None:
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


def may_be_left(engine: Engine, name: str) -> bool:
    """Whether a destination's server may still have a subscription that was wanted once."""
    end = followed_to(engine, _place(name))
    return end is not None and end > now_utc()


def _place(name: str) -> str:
    return f"subscription/{name}"


class SubscriptionKeeper:
    """Looks after the subscription at one EHR.

    Parameters
    ----------
    hook
        As it is wanted; None to take back what was wanted once.
    """

    def __init__(self, engine: Engine, name: str, key: str, hook: Webhook | None, client: FhirClient) -> None:
        self._engine = engine
        self._name = name
        self._key = key
        self._hook = hook
        self._client = client

    def look(self) -> Kept | None:
        """Look once; what was done, None once nothing is wanted and nothing is left.

        Raises
        ------
        Transient, Permanent
            If the server cannot be asked or refuses.
        """
        now = now_utc()
        if self._hook is None:
            self._client.remove_subscription(self._key)
            forget_followed(self._engine, _place(self._name))
            return None
        # Noted before the server has it: what an answer that is lost leaves behind is taken back too.
        note_followed(self._engine, _place(self._name), now + self._hook.lasts)
        return self._client.keep_subscription(self._hook, now).kept

    def run(self, stop: Event, every_s: float = LOOK_EVERY_S) -> None:
        """Look at once and then every `every_s` until `stop`, or until what was unwanted is gone."""
        pause_s = 0.0
        while not stop.wait(pause_s):
            pause_s = every_s
            try:
                kept = self.look()
            except RadDraftError as error:
                _log.warning("subscription_not_kept", destination=self._name, code=error.code)
                continue
            if kept is None:
                _log.info("subscription_removed", destination=self._name)
                return
            if kept is Kept.REVIVED:
                _log.warning("subscription_had_failed", destination=self._name)
            elif kept is not Kept.GOOD:
                _log.info("subscription_kept", destination=self._name, kept=kept.value)
