"""What the listener's processes do beside receiving: files a killed one left, and calls that were refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest
from fastapi.testclient import TestClient

from clinical import RadDraftError, Transient
from dicom_node import AllowedPeer, Listener, ListenerSettings, Peer, PosixSpool, Refusal, RefusedCall, echo
from service import refused_calls
from service.book import Book
from service.book.audit import audit_entries
from service.book.refusals import refusals
from service.house import House
from service.http import create_app
from service.intake import book_ledger
from service.refused_calls import RefusedCalls
from service.roles.node import adopt_left_files
from service.settings import Settings
from tests.dicom_node.crafted import as_file, crafted_dataset


@pytest.fixture
def house(book: Book, tmp_path: Path) -> House:
    """An installation around the account book."""
    settings = Settings(data_dir=tmp_path / "data")
    return House(settings, book, PosixSpool(tmp_path / "spool"), PosixSpool(tmp_path / "results"))


def test_what_a_killed_listener_left_is_adopted_once_it_must_be_old(house: House) -> None:
    house.spool.put(as_file(crafted_dataset()))
    adopt_left_files(house, Event(), left_after_s=0.1)
    account = house.book.account(house.spool, deep=True)
    assert (account.balanced, account.adopted, account.acknowledged) == (True, 1, 0)


def test_what_is_younger_waits_for_its_commit_and_nothing_is_adopted_while_stopping(house: House) -> None:
    (key,) = [house.spool.put(as_file(crafted_dataset())).key]
    stop = Event()
    stop.set()
    adopt_left_files(house, stop)
    assert house.spool.holds(key)
    assert house.book.account().adopted == 0


@pytest.fixture
def refused(house: House) -> Iterator[RefusedCalls]:
    """What writes refused calls, running."""
    calls = RefusedCalls(house.book.engine)
    calls.start()
    yield calls


def test_refused_calls_are_in_the_metrics_and_each_caller_once_in_the_audit_log(
    house: House, refused: RefusedCalls
) -> None:
    listener = Listener(
        ListenerSettings(port=0, peers=(AllowedPeer("PACS", "127.0.0.1"),)),
        house.spool,
        book_ledger(house),
        refused=refused.note,
    )
    listener.start()
    peer = Peer("RADDRAFT", "127.0.0.1", listener.port)
    for _ in range(3):
        with pytest.raises(RadDraftError):
            echo(peer, calling_ae_title="STRANGER")
    listener.stop()
    refused.stop()
    (reason,) = refusals(house.book.engine)
    entries = audit_entries(house.book.engine)
    assert {(entry.action, entry.actor, entry.outcome) for entry in entries} == {
        ("refuse", "ae:STRANGER@127.0.0.1", reason)
    }
    app = create_app(
        house.settings, house.book, spool=house.spool, results=house.results, readiness=lambda: ""
    )
    metrics = TestClient(app, client=("127.0.0.1", 50000)).get("/metrics").text
    assert f'raddraft_refused_calls_total{{reason="{reason}"}} 3.0' in metrics


def test_a_flood_of_callers_is_one_entry_beyond_the_first_hundred(
    house: House, refused: RefusedCalls
) -> None:
    for number in range(150):
        refused.note(RefusedCall(Refusal.TLS, f"10.0.0.{number}", f"AE{number}"))
    refused.stop()
    assert sum(refusals(house.book.engine).values()) == 150
    # The writer may have come by in the middle, and begins anew then.
    assert len(audit_entries(house.book.engine)) in range(101, 151)


def test_refused_calls_wait_for_a_book_that_does_not_answer(
    house: House, refused: RefusedCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*_: object, **__: object) -> None:
        raise Transient("book-unavailable", "")

    with monkeypatch.context() as patch:
        patch.setattr(refused_calls, "note_refusals", silent)
        refused.note(RefusedCall(Refusal.TLS, "10.0.0.1"))
        refused.write()
    assert refusals(house.book.engine) == {}
    refused.stop()
    assert sum(refusals(house.book.engine).values()) == 1
