"""No notification of a signed report is left unanswered: by a look that fails, a restart, or one beside another."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest

from clinical import Transient
from hl7_fhir import FhirProfile, SignedReport
from service import report_watch
from service.clock import now_utc
from service.doorbell import Doorbell
from service.house import House
from service.report_watch import ReportWatch
from tests.service.hospital import opened

_LONG_S = 3600.0
# For what must happen; nothing is measured by it.
_PATIENCE_S = 60.0

Look = Callable[[], None]


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.setattr(report_watch, "_LISTEN_EVERY_S", 0.02)
    with opened(tmp_path) as site:
        yield site


@contextmanager
def watched(house: House, bell: Doorbell | None, looks: Iterable[Look]) -> Iterator[threading.Event]:
    """A watch whose looks do what is listed; what is set at the last of them."""
    stop, over = threading.Event(), threading.Event()
    todo = list(looks)

    def ask(_: datetime) -> Iterable[SignedReport]:
        if not todo:
            return ()
        look = todo.pop(0)
        if not todo:
            over.set()
        look()
        return ()

    watch = ReportWatch(house, "ehr", FhirProfile(), ask)
    thread = threading.Thread(target=watch.run, args=(stop, _LONG_S, bell))
    thread.start()
    try:
        yield over
    finally:
        stop.set()
        thread.join()


def nothing() -> None:
    """A look that sees no report."""


def fails() -> None:
    """A look that the EHR does not answer."""
    raise Transient("ehr-unreachable", "away")


def test_the_ehr_is_asked_at_once_when_the_service_begins(house: House) -> None:
    with watched(house, None, [nothing]) as over:
        assert over.wait(_PATIENCE_S)


def test_a_notification_that_came_while_nobody_listened_is_answered_though_the_first_look_fails(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_watch, "_FOUND_AFTER_S", 0.02)
    bell = Doorbell(house.book.engine, "ehr")
    bell.ring(now_utc())
    with watched(house, Doorbell(house.book.engine, "ehr"), [fails, fails, fails, nothing]) as over:
        assert over.wait(_PATIENCE_S)


def test_a_notification_is_answered_however_many_looks_fail(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_watch, "_FOUND_AFTER_S", 0.02)
    bell = Doorbell(house.book.engine, "ehr")

    def rings() -> None:
        bell.ring(now_utc())

    with watched(house, bell, [rings, fails, fails, fails, nothing]) as over:
        assert over.wait(_PATIENCE_S)


def test_a_notification_right_behind_another_has_a_look_of_its_own_or_comes_before_the_others(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the look that comes half a minute later."""
    monkeypatch.setattr(report_watch, "_FOUND_AFTER_S", _LONG_S)
    bell = Doorbell(house.book.engine, "ehr")

    def rings() -> None:
        bell.ring(now_utc())

    # Each report is signed while the EHR is asked, too late for that answer.
    with watched(house, bell, [rings, rings, rings, nothing]) as over:
        assert over.wait(_PATIENCE_S)
