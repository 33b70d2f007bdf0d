"""A FHIR server that is asked to tell of signed reports does, by another maker's matching, and the draft is closed."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI

from clinical import Permanent
from hl7_fhir import FhirClient, Kept, Webhook
from service.book.states import DeliveryState
from service.clock import now_utc
from service.doorbell import Doorbell
from service.house import House
from service.http import create_app
from service.report_subscription import SubscriptionKeeper, subscription_keepers
from tests.hl7_fhir.scripted_server import Asked, scripted_server
from tests.interop.fhir_engine.engine import Store
from tests.interop.test_fhir_signed_reports import order, patient, report, watch
from tests.service.hospital import ACCESSION, PATIENT_ID, drafted, opened, received, state_of

pytestmark = pytest.mark.interop

SECRET = "0123456789abcdef-0123456789ABCDEF"


def settings(base_url: str, port: int, payload: str = "none") -> str:
    return f"""
[[destinations]]
name = "ehr"
type = "fhir"
base_url = "{base_url}"
[destinations.subscription]
endpoint = "http://127.0.0.1:{port}/fhir/notified/ehr"
secret = "{SECRET}"
payload = "{payload}"
"""


@contextmanager
def served(app: FastAPI, listening: socket.socket) -> Iterator[None]:
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()


def keeper_of(house: House) -> SubscriptionKeeper:
    (keeper,) = subscription_keepers(house)
    return keeper


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("payload", ["none", "report"])
def test_a_report_that_is_signed_closes_the_study_though_nobody_asks_for_an_hour(
    tmp_path: Path, far_store: Store, payload: str
) -> None:
    stop = threading.Event()
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        with opened(tmp_path, settings(far_store.base_url, port, payload)) as house:
            app = create_app(
                house.settings, house.book, spool=house.spool, results=house.results, readiness=str
            )
            study = received(house, tmp_path)
            (waiting,) = drafted(house, study, {"a": DeliveryState.PENDING})
            looking = watch(house, far_store)
            bell = Doorbell(house.book.engine, "ehr")
            thread = threading.Thread(target=looking.run, args=(stop, 3600.0, bell))
            with served(app, listening):
                assert keeper_of(house).look() is Kept.CREATED
                thread.start()
                subject = patient(far_store)
                report(far_store, subject, basedOn=[order(far_store, subject)])
                until(lambda: state_of(house, waiting)[0] == DeliveryState.SUPERSEDED)
            stop.set()
            thread.join()
            assert state_of(house, waiting) == (DeliveryState.SUPERSEDED, "report-signed")
    (subscription,) = far_store.search("Subscription")
    assert subscription["status"] == "active"


@contextmanager
def hooked(answers: list[int]) -> Iterator[tuple[Webhook, list[Asked]]]:
    """An endpoint that answers as the list says (its last entry for ever), and what it was told."""

    def answer(_: Asked) -> tuple[int, Any]:
        return (answers.pop(0) if len(answers) > 1 else answers[0]), {}

    with scripted_server(answer) as server:
        yield Webhook("k" * 32, server.base_url, SECRET), server.asked


def test_only_signed_reports_are_told_of_and_what_is_sent_is_a_secret_and_no_patient(
    far_store: Store,
) -> None:
    with hooked([200]) as (hook, told):
        FhirClient(far_store.base_url).keep_subscription(hook, now_utc())
        subject = patient(far_store)
        draft = report(far_store, subject, status="preliminary")
        far_store.put({**draft, "status": "final"})
        until(lambda: bool(told))
        report(far_store, subject, status="partial")
        far_store.put({**draft, "status": "corrected"})
        until(lambda: len(told) >= 2)
    assert [one.method for one in told] == ["POST", "POST"]
    assert {one.headers["authorization"] for one in told} == {f"Bearer {SECRET}"}
    assert not any(one.body for one in told)
    stored = json.dumps(far_store.search("Subscription"))
    assert PATIENT_ID not in stored and ACCESSION not in stored


def test_there_is_one_subscription_and_it_is_kept_as_it_is_wanted(far_store: Store) -> None:
    client = FhirClient(far_store.base_url)
    now = now_utc()
    hook = Webhook("a" * 32, "https://raddraft.example/fhir/notified/ehr", SECRET)

    def kept(wanted: Webhook, at: datetime = now) -> tuple[Kept, dict[str, Any]]:
        result = client.keep_subscription(wanted, at)
        (found,) = far_store.search("Subscription", _tag=f"urn:raddraft:subscription|{wanted.key}")
        assert datetime.fromisoformat(found["end"]) == result.placed.end_utc.replace(microsecond=0)
        return result.kept, found

    assert kept(hook)[0] is Kept.CREATED
    assert kept(hook)[0] is Kept.GOOD
    assert kept(hook, now + timedelta(days=3))[0] is Kept.GOOD
    did, found = kept(hook, now + timedelta(days=4))
    assert (did, found["status"]) == (Kept.RENEWED, "active")
    another = Webhook(hook.key, hook.url, SECRET[::-1], with_report=True)
    did, found = kept(another, now + timedelta(days=4))
    assert did is Kept.CHANGED
    assert found["channel"]["header"] == [f"Authorization: Bearer {SECRET[::-1]}"]
    assert found["channel"]["payload"] == "application/fhir+json"
    far_store.put({**found, "status": "off"})
    assert kept(another, now + timedelta(days=4))[0] is Kept.REVIVED
    # Another installation has one of its own.
    assert kept(Webhook("b" * 32, hook.url, SECRET))[0] is Kept.CREATED
    assert far_store.counts("Subscription") == {"Subscription": 2}


def test_one_that_the_server_gave_up_on_is_asked_for_again(far_store: Store) -> None:
    client = FhirClient(far_store.base_url)
    with hooked([500, 200]) as (hook, told):
        client.keep_subscription(hook, now_utc())
        subject = patient(far_store)
        report(far_store, subject)
        until(lambda: far_store.search("Subscription")[0]["status"] == "error")
        report(far_store, subject)
        assert client.keep_subscription(hook, now_utc()).kept is Kept.REVIVED
        report(far_store, subject)
        until(lambda: len(told) >= 2)
        assert far_store.search("Subscription")[0]["status"] == "active"


def test_what_the_site_no_longer_wants_is_taken_back_once(tmp_path: Path, far_store: Store) -> None:
    with opened(tmp_path, settings(far_store.base_url, 9)) as house:
        assert keeper_of(house).look() is Kept.CREATED
        assert keeper_of(house).look() is Kept.GOOD
    with opened(tmp_path) as house:
        assert keeper_of(house).look() is None
        assert far_store.counts("Subscription") == {"Subscription": 0}
        assert not subscription_keepers(house)


def test_a_server_without_subscriptions_is_left_to_be_asked(far_store: Store) -> None:
    far_store.limit(types=["DiagnosticReport", "Patient"])
    with pytest.raises(Permanent, match="no-subscriptions"):
        FhirClient(far_store.base_url).keep_subscription(
            Webhook("a" * 32, "https://x.example/", SECRET), now_utc()
        )
