"""A Subscription (R4 2.46) by which a FHIR server tells us that a report was signed, kept as we want it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from urllib.parse import quote

from clinical import Permanent, RadDraftError
from hl7_fhir.capability import Capabilities
from hl7_fhir.exchange import FHIR_JSON, GONE, Exchange, Stored
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
    UNSEEN = "unseen"


@dataclass(frozen=True, slots=True)
class Placed:
    """What is to be remembered of a subscription: a server need not give its tags back, nor search by them.

    Attributes
    ----------
    resource_id
        Its id at the server; empty where the server did not say it.
    content_digest, endpoint_digest
        Of what was asked for, and of the address that is told.
    end_utc
        When the server forgets it, unless it is renewed.
    """

    resource_id: str
    content_digest: str
    endpoint_digest: str
    end_utc: datetime


@dataclass(frozen=True, slots=True)
class Subscribed:
    """A subscription after it was looked after.

    Attributes
    ----------
    left
        Further ones of the same key that the server did not delete.
    """

    kept: Kept
    placed: Placed
    left: int = 0


def keep_subscription(
    exchange: Exchange,
    capabilities: Capabilities,
    hook: Webhook,
    now: datetime,
    placed: Placed | None = None,
) -> Subscribed:
    """See to it that the server has the one subscription of this key, as it is wanted and far from its end.

    One that the server put in `error` or turned `off` is asked for again; of several one is kept. Nothing is changed or
    deleted but what has our tag with this key, or the remembered id together with our endpoint. Where neither can be
    seen, and may be there all the same, no other is created before half of its time has passed (``Kept.UNSEEN``).

    Parameters
    ----------
    placed
        What is remembered of the last time.

    Raises
    ------
    Transient, Permanent
        By the status of an answer; ``no-subscriptions`` where the server takes none.
    """
    if not capabilities.writes("Subscription"):
        raise Permanent("no-subscriptions", "the FHIR server's CapabilityStatement offers no Subscription")
    wanted = _resource(hook, now + hook.lasts)
    asked = _asked(wanted, now + hook.lasts)
    ours, unseen = _ours(exchange, hook.key, placed)
    if ours:
        return _kept(exchange, ours, wanted, asked, placed, now + hook.lasts / 2)
    if unseen and placed is not None and _as_good(placed, asked, now + hook.lasts / 2):
        return Subscribed(Kept.UNSEEN, placed)
    _, reference = create(exchange, wanted, None)
    return Subscribed(Kept.CREATED, replace(asked, resource_id=(reference or "").partition("/")[2]))


def remove_subscription(exchange: Exchange, key: str, placed: Placed | None = None) -> int:
    """Delete what `keep_subscription` put there; how many there were.

    Raises
    ------
    Transient, Permanent
        By the status of an answer; ``subscription-unseen`` where ours may be left and cannot be known as ours.
    """
    ours, unseen = _ours(exchange, key, placed)
    for one in ours:
        try:
            exchange.send("DELETE", one.reference)
        except Permanent as error:
            if error.code not in GONE:
                raise
    if unseen:
        raise Permanent("subscription-unseen", "the FHIR server shows no Subscription that is known as ours")
    return len(ours)


def _ours(exchange: Exchange, key: str, placed: Placed | None) -> tuple[list[Stored], bool]:
    """Those that are known as ours, the remembered one first; else whether one may be there unknown."""
    # A server may ignore a parameter it does not know (R4 3.1.1.4.2): what it lists is not ours for that.
    ours = [one for one in exchange.found("Subscription", _query(key)) if _key_of(one.resource) == key]
    ours.sort(key=lambda one: one.reference)
    if placed is None:
        return ours, False
    if not placed.resource_id:
        return ours, not ours
    first = [one for one in ours if one.resource["id"] == placed.resource_id]
    if not first:
        read = exchange.read(f"Subscription/{placed.resource_id}")
        if read is None:
            return ours, False
        if not _is_remembered(read, key, placed):
            return ours, not ours
        first = [read]
    return first + [one for one in ours if one.resource["id"] != placed.resource_id], False


def _is_remembered(read: Stored, key: str, placed: Placed) -> bool:
    """Whether what has the remembered id is ours: a server that was set up anew gives ids a second time."""
    resource = read.resource
    if resource.get("resourceType") != "Subscription" or resource.get("id") != placed.resource_id:
        return False
    endpoint = str(resource.get("channel", {}).get("endpoint", ""))
    theirs = _key_of(resource)
    return theirs == key or (theirs == "" and _digest(endpoint) == placed.endpoint_digest)


def _kept(
    exchange: Exchange,
    ours: list[Stored],
    wanted: Json,
    asked: Placed,
    placed: Placed | None,
    till: datetime,
) -> Subscribed:
    """Make the first of ours as it is wanted, and delete the others."""
    one, *others = ours
    known = placed if placed is not None and placed.resource_id == one.resource["id"] else None
    content = _tagged(one.resource, _CONTENT) or (known.content_digest if known else "")
    end = _end(one) or (known.end_utc if known else None)
    kept = Kept.GOOD
    if one.resource.get("status") not in _AT_WORK:
        kept = Kept.REVIVED
    elif content != asked.content_digest:
        kept = Kept.CHANGED
    elif end is None or end < till:
        kept = Kept.RENEWED
    if kept is not Kept.GOOD:
        update(exchange, wanted, one)
    good_till = end if kept is Kept.GOOD and end is not None else asked.end_utc
    left = sum(not _deleted(exchange, other) for other in others)
    return Subscribed(kept, replace(asked, resource_id=one.resource["id"], end_utc=good_till), left)


def _deleted(exchange: Exchange, other: Stored) -> bool:
    try:
        exchange.send("DELETE", other.reference)
    except RadDraftError as error:
        return error.code in GONE
    return True


def _as_good(placed: Placed, asked: Placed, till: datetime) -> bool:
    return placed.content_digest == asked.content_digest and placed.end_utc >= till


def _asked(wanted: Json, end: datetime) -> Placed:
    return Placed("", _tagged(wanted, _CONTENT), _digest(wanted["channel"]["endpoint"]), end)


def _key_of(resource: Json) -> str:
    return _tagged(resource, _WHOSE) if resource.get("id") else ""


def _tagged(resource: Json, system: str) -> str:
    tags = resource.get("meta", {}).get("tag", [])
    return next((str(tag.get("code", "")) for tag in tags if tag.get("system") == system), "")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


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
    content = _digest(json.dumps(wanted, sort_keys=True))
    tags = [{"system": _WHOSE, "code": hook.key}, {"system": _CONTENT, "code": content}]
    resource = {
        "resourceType": "Subscription",
        "meta": {"tag": tags},
        **wanted,
        "end": end.astimezone(UTC).replace(microsecond=0).isoformat(),
    }
    check_resource(resource)
    return resource
