"""A Subscription (R4 2.46) by which a FHIR server tells us that a report was signed, kept as we want it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from urllib.parse import quote

from clinical import Permanent
from hl7_fhir.capability import Capabilities
from hl7_fhir.exchange import FHIR_JSON, Exchange, Stored
from hl7_fhir.gate import check_resource
from hl7_fhir.signature import SIGNED
from hl7_fhir.single_writes import create, update

Json = dict[str, Any]

# A Subscription has no identifier in R4: it is known by a tag, and what it holds by a second one. Servers do not give
# back the headers of a channel everywhere, so the content cannot be compared.
_WHOSE = "urn:raddraft:subscription"
_CONTENT = "urn:raddraft:subscription-content"
# A client may ask for it; that it is active, or went wrong, is the server's to say.
_ASKED_FOR = "requested"
_AT_WORK = frozenset({_ASKED_FOR, "active"})


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where a server tells us that a report was signed.

    Attributes
    ----------
    key
        Names our subscription at that server, and no other installation's.
    url
        Of our endpoint, as the server reaches it.
    secret
        By which the endpoint knows the server; it stands in the Subscription, so it must open nothing else.
    with_report
        Whether each notification is to hold the report; it is asked for in any case.
    lasts
        From its writing to its end; it is renewed when half of that has passed.
    """

    key: str
    url: str
    secret: str = field(repr=False)
    with_report: bool = False
    lasts: timedelta = timedelta(days=7)


class Kept(StrEnum):
    """What was found, and what was done about it."""

    GOOD = "good"
    CREATED = "created"
    CHANGED = "changed"
    RENEWED = "renewed"
    REVIVED = "revived"


@dataclass(frozen=True, slots=True)
class Subscribed:
    """A subscription after it was looked after.

    Attributes
    ----------
    end_utc
        When the server forgets it, unless it is renewed.
    """

    kept: Kept
    end_utc: datetime


def keep_subscription(
    exchange: Exchange, capabilities: Capabilities, hook: Webhook, now: datetime
) -> Subscribed:
    """See to it that the server has the one subscription of this key, as it is wanted and far from its end.

    One that the server put in `error` or turned `off` is asked for again.

    Raises
    ------
    Transient, Permanent
        By the status of an answer; ``no-subscriptions`` where the server takes none, ``several-matches``.
    """
    if not capabilities.writes("Subscription"):
        raise Permanent("no-subscriptions", "the FHIR server's CapabilityStatement offers no Subscription")
    wanted = _resource(hook, now + hook.lasts)
    found = exchange.the_one("Subscription", _query(hook.key))
    if found is None:
        conditional = capabilities.creates_conditionally("Subscription")
        create(exchange, wanted, _query(hook.key) if conditional else None)
        return Subscribed(Kept.CREATED, now + hook.lasts)
    end = _end(found)
    kept = _judged(found, wanted, end is not None and end - now >= hook.lasts / 2)
    if kept is Kept.GOOD and end is not None:
        return Subscribed(kept, end)
    update(exchange, wanted, found)
    return Subscribed(kept, now + hook.lasts)


def remove_subscription(exchange: Exchange, key: str) -> bool:
    """Delete the subscription of a key; whether there was one.

    Raises
    ------
    Transient, Permanent
        By the status of an answer.
    """
    found = exchange.the_one("Subscription", _query(key))
    if found is None:
        return False
    exchange.send("DELETE", found.reference)
    return True


def _judged(found: Stored, wanted: Json, lasts: bool) -> Kept:
    if found.resource.get("status") not in _AT_WORK:
        return Kept.REVIVED
    tags = found.resource.get("meta", {}).get("tag", [])
    if _content_of(tags) != _content_of(wanted["meta"]["tag"]):
        return Kept.CHANGED
    return Kept.GOOD if lasts else Kept.RENEWED


def _content_of(tags: list[Json]) -> str:
    return next((str(tag.get("code", "")) for tag in tags if tag.get("system") == _CONTENT), "")


def _query(key: str) -> str:
    return f"_tag={quote(f'{_WHOSE}|{key}', safe='')}"


def _end(found: Stored) -> datetime | None:
    try:
        end = datetime.fromisoformat(str(found.resource.get("end")))
    except ValueError:
        return None
    return end.astimezone(UTC) if end.tzinfo is not None else None


def _resource(hook: Webhook, end: datetime) -> Json:
    channel: Json = {
        "type": "rest-hook",
        "endpoint": hook.url,
        "header": [f"Authorization: Bearer {hook.secret}"],
    }
    if hook.with_report:
        # Without a payload type the server sends a POST without a body (R4 2.46).
        channel["payload"] = FHIR_JSON
    wanted: Json = {
        "status": _ASKED_FOR,
        "reason": "RadDraft withdraws its draft of a study when the report is signed",
        "criteria": f"DiagnosticReport?status={','.join(sorted(SIGNED))}",
        "channel": channel,
    }
    content = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()
    tags = [{"system": _WHOSE, "code": hook.key}, {"system": _CONTENT, "code": content[:32]}]
    resource = {
        "resourceType": "Subscription",
        "meta": {"tag": tags},
        **wanted,
        "end": end.astimezone(UTC).replace(microsecond=0).isoformat(),
    }
    check_resource(resource)
    return resource
