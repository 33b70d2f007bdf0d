"""Of a server's Subscriptions ours alone is changed or deleted, and there is one of it, whatever it gives back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from clinical import Permanent
from hl7_fhir import FhirClient, Kept, Placed, Webhook
from tests.hl7_fhir.scripted_server import Answer, Asked, scripted_server

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
HOOK = Webhook("a" * 32, "https://raddraft.example/fhir/notified/ehr", "0123456789abcdef" * 2)
WHOSE = "urn:raddraft:subscription"


def foreign(name: str, **more: Any) -> dict[str, Any]:
    channel = {"type": "rest-hook", "endpoint": "https://lab.example/x"}
    return {"resourceType": "Subscription", "id": name, "status": "active", "channel": channel, **more}


@dataclass
class Shelf:
    """A server's Subscriptions, and what it does with tags, ids and deletions."""

    stored: dict[str, dict[str, Any]] = field(default_factory=dict)
    searches_by_tag: bool = True
    keeps_tags: bool = True
    says_id: bool = True
    deletes: bool = True
    made: int = 0

    def __call__(self, asked: Asked) -> Answer:
        url = urlsplit(asked.path)
        name = url.path.removeprefix("/fhir/").partition("/")[2]
        if url.path.endswith("/metadata"):
            return 200, {"resourceType": "CapabilityStatement"}
        if asked.method == "POST":
            self.made += 1
            return self._store(f"new-{self.made}", asked, 201)
        if not name:
            return 200, {
                "resourceType": "Bundle",
                "entry": [{"resource": one} for one in self._found(url.query)],
            }
        if name not in self.stored:
            return 404, {}
        if asked.method == "PUT":
            return self._store(name, asked, 200)
        if asked.method == "DELETE":
            if not self.deletes:
                return 405, {}
            del self.stored[name]
        return 200, self.stored.get(name, {})

    def _store(self, name: str, asked: Asked, status: int) -> Answer:
        resource = {**json.loads(asked.body), "id": name}
        # No server need give back the headers of a channel.
        resource["channel"] = {k: v for k, v in resource["channel"].items() if k != "header"}
        if not self.keeps_tags:
            del resource["meta"]
        self.stored[name] = resource
        return status, resource if self.says_id else {}

    def _found(self, query: str) -> list[dict[str, Any]]:
        wanted = parse_qs(query)["_tag"][0]
        everything = list(self.stored.values())
        if not self.searches_by_tag:
            return everything
        return [
            one
            for one in everything
            if any(f"{tag['system']}|{tag['code']}" == wanted for tag in one.get("meta", {}).get("tag", []))
        ]


@contextmanager
def client_of(shelf: Shelf) -> Iterator[FhirClient]:
    with scripted_server(shelf) as server:
        yield FhirClient(server.base_url)


def tagged(name: str, key: str = HOOK.key, **more: Any) -> dict[str, Any]:
    channel = {"type": "rest-hook", "endpoint": HOOK.url}
    return foreign(name, meta={"tag": [{"system": WHOSE, "code": key}]}, **{"channel": channel, **more})


@pytest.mark.parametrize("keeps_tags", [True, False])
def test_what_is_not_ours_is_neither_changed_nor_deleted_by_a_server_that_ignores_the_tag(
    keeps_tags: bool,
) -> None:
    others = {"lab-7": foreign("lab-7"), "twin": tagged("twin", "b" * 32)}
    shelf = Shelf(dict(others), searches_by_tag=False, keeps_tags=keeps_tags)
    with client_of(shelf) as client:
        assert client.remove_subscription(HOOK.key) == 0
        first = client.keep_subscription(HOOK, NOW)
        assert (first.kept, first.placed.resource_id) == (Kept.CREATED, "new-1")
        assert client.keep_subscription(HOOK, NOW, first.placed).kept is Kept.GOOD
        assert shelf.stored.keys() == {*others, "new-1"}
        assert client.remove_subscription(HOOK.key, first.placed) == 1
    assert shelf.stored == others


def test_where_no_tag_is_kept_there_is_one_by_its_id_which_is_changed_renewed_and_removed() -> None:
    shelf = Shelf(keeps_tags=False)
    with client_of(shelf) as client:
        placed, did = None, []
        turned = replace(HOOK, secret=HOOK.secret[::-1])
        for hook, days in ((HOOK, 0), (HOOK, 1), (HOOK, 4), (turned, 4), (turned, 5)):
            result = client.keep_subscription(hook, NOW + timedelta(days=days), placed)
            placed = result.placed
            did.append(result.kept)
        assert did == [Kept.CREATED, Kept.GOOD, Kept.RENEWED, Kept.CHANGED, Kept.GOOD]
        assert shelf.stored.keys() == {"new-1"}
        shelf.stored["new-1"]["status"] = "off"
        assert client.keep_subscription(turned, NOW + timedelta(days=5), placed).kept is Kept.REVIVED
        assert client.remove_subscription(HOOK.key, placed) == 1
        assert not shelf.stored
        # One that somebody deleted there is made again.
        assert client.keep_subscription(HOOK, NOW, placed).kept is Kept.CREATED


def test_where_neither_tag_nor_id_is_given_back_there_is_one_in_half_its_time() -> None:
    shelf = Shelf(keeps_tags=False, says_id=False)
    with client_of(shelf) as client:
        placed = client.keep_subscription(HOOK, NOW).placed
        for hours in range(0, 84, 12):
            assert client.keep_subscription(HOOK, NOW + timedelta(hours=hours), placed).kept is Kept.UNSEEN
        assert shelf.made == 1
        with pytest.raises(Permanent, match="subscription-unseen"):
            client.remove_subscription(HOOK.key, placed)
        assert client.keep_subscription(HOOK, NOW + timedelta(days=4), placed).kept is Kept.CREATED
        # Another secret is told at once: by the old one nothing would be heard.
        turned = replace(HOOK, secret=HOOK.secret[::-1])
        assert client.keep_subscription(turned, NOW, placed).kept is Kept.CREATED


@pytest.mark.parametrize("another", [foreign("new-1"), tagged("new-1", "b" * 32), {"id": "new-1"}])
def test_an_id_that_a_server_gave_to_another_is_not_ours(another: dict[str, Any]) -> None:
    shelf = Shelf(keeps_tags=False)
    with client_of(shelf) as client:
        placed = client.keep_subscription(HOOK, NOW).placed
        shelf.stored = {"new-1": another}
        assert client.keep_subscription(HOOK, NOW, placed).kept is Kept.UNSEEN
        with pytest.raises(Permanent, match="subscription-unseen"):
            client.remove_subscription(HOOK.key, placed)
        assert client.keep_subscription(HOOK, NOW + timedelta(days=4), placed).kept is Kept.CREATED
    assert shelf.stored["new-1"] == another and shelf.stored.keys() == {"new-1", "new-2"}


@pytest.mark.parametrize("deletes", [True, False])
def test_of_several_of_ours_one_is_kept_the_remembered_one_before_others(deletes: bool) -> None:
    shelf = Shelf(
        {name: tagged(name) for name in ("x", "y", "z")} | {"lab-7": foreign("lab-7")}, deletes=deletes
    )
    with client_of(shelf) as client:
        result = client.keep_subscription(HOOK, NOW, Placed("y", "", "", NOW))
        assert (result.kept, result.placed.resource_id) == (Kept.CHANGED, "y")
        assert result.left == (0 if deletes else 2)
        assert shelf.stored.keys() == ({"y", "lab-7"} if deletes else {"x", "y", "z", "lab-7"})
        assert client.keep_subscription(HOOK, NOW, result.placed).kept is Kept.GOOD
