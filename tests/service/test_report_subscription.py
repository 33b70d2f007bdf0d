"""A Subscription that the site no longer wants is taken back where it lies; restarts make no second one."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from service.book.subscriptions import PlacedSubscription, note_subscription, placed_subscriptions
from service.clock import now_utc
from service.house import House
from service.report_subscription import subscription_keepers
from tests.hl7_fhir.scripted_server import Answer, Asked, scripted_server
from tests.hl7_fhir.test_subscription import Shelf, foreign
from tests.service.hospital import opened

SECRET = "0123456789abcdef-0123456789ABCDEF"
TOKEN = "of-the-ehr"


def ehr(base_url: str, *lines: str, subscribed: bool = True) -> str:
    wanted = f"""[destinations.subscription]
endpoint = "http://127.0.0.1:9/fhir/notified/ehr"
secret = "{SECRET}"
"""
    entry = ["[[destinations]]", 'name = "ehr"', 'type = "fhir"', f'base_url = "{base_url}"', *lines]
    return "\n".join(entry) + "\n" + (wanted if subscribed else "")


def start(tmp_path: Path, settings: str) -> int:
    """Every keeper's first look, as at the start of the scheduler; how many there were."""
    with opened(tmp_path, settings) as house:
        return looked(house)


def looked(house: House) -> int:
    keepers = subscription_keepers(house)
    for keeper in keepers:
        stop = threading.Event()
        threading.Timer(0.3, stop.set).start()
        keeper.run(stop)
    return len(keepers)


def noted(tmp_path: Path) -> list[str]:
    with opened(tmp_path) as house:
        return [one.resource_id for one in placed_subscriptions(house.book.engine)]


@pytest.mark.parametrize("keeps_tags", [True, False])
def test_restarts_make_no_second_subscription(tmp_path: Path, keeps_tags: bool) -> None:
    shelf = Shelf({"lab-7": foreign("lab-7")}, searches_by_tag=keeps_tags, keeps_tags=keeps_tags)
    with scripted_server(shelf) as server:
        for _ in range(3):
            assert start(tmp_path, ehr(server.base_url)) == 1
    assert shelf.stored.keys() == {"lab-7", "new-1"} and noted(tmp_path) == ["new-1"]


@pytest.mark.parametrize("keeps_tags", [True, False])
@pytest.mark.parametrize("way", ["off", "dry run", "taken out", "moved"])
def test_what_is_no_longer_wanted_is_removed_at_the_next_start(
    tmp_path: Path, way: str, keeps_tags: bool
) -> None:
    shelf, elsewhere = (Shelf({"lab-7": foreign("lab-7")}, keeps_tags=keeps_tags) for _ in range(2))
    with scripted_server(shelf) as server, scripted_server(elsewhere) as other:
        start(tmp_path, ehr(server.base_url))
        assert "new-1" in shelf.stored
        after = {
            "off": ehr(server.base_url, subscribed=False),
            "dry run": ehr(server.base_url, "dry_run = true"),
            "taken out": "",
            "moved": ehr(other.base_url),
        }[way]
        start(tmp_path, after)
        assert shelf.stored.keys() == {"lab-7"}
        assert noted(tmp_path) == (["new-1"] if way == "moved" else [])
        assert start(tmp_path, after) == (1 if way == "moved" else 0)
    assert elsewhere.stored.keys() == ({"lab-7", "new-1"} if way == "moved" else {"lab-7"})


def test_where_its_credentials_are_gone_one_line_says_so_and_none_are_sent_elsewhere(tmp_path: Path) -> None:
    shelf = Shelf()
    asked_without: list[str] = []

    def guarded(asked: Asked) -> Answer:
        if asked.headers.get("authorization") != f"Bearer {TOKEN}":
            asked_without.append(asked.method)
            return 401, {}
        return shelf(asked)

    with scripted_server(guarded) as server, scripted_server(Shelf()) as other:
        token = f'bearer_token = "{TOKEN}"'
        start(tmp_path, ehr(server.base_url, token))
        assert not asked_without
        with capture_logs() as logs, opened(tmp_path, ehr(other.base_url, token, subscribed=False)) as house:
            (keeper,) = subscription_keepers(house)
            stop = threading.Event()
            threading.Timer(1.0, stop.set).start()
            keeper.run(stop, every_s=0.05)
        assert len(asked_without) > 1
        (line,) = [log for log in logs if log["event"] == "subscription_left_at_server"]
        assert (line["destination"], line["code"]) == ("ehr", "http-401")
        assert shelf.stored and noted(tmp_path) == ["new-1"]
        # Its credentials come back with the destination.
        start(tmp_path, ehr(server.base_url, token, subscribed=False))
    assert not shelf.stored and not noted(tmp_path)


def test_what_a_server_has_forgotten_by_itself_is_not_asked_for_for_ever(tmp_path: Path) -> None:
    with scripted_server(lambda _: (503, {})) as server, opened(tmp_path) as house:
        engine = house.book.engine
        note_subscription(engine, PlacedSubscription("ehr", server.base_url, now_utc(), "new-1", "c", "e"))
        assert looked(house) == 1
        assert not placed_subscriptions(engine)
