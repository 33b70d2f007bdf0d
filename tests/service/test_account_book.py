"""Promises of the account book, on a real SQLite file and on a real PostgreSQL server."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from threading import Thread

import pytest
from sqlalchemy import text

from clinical import Permanent, Transient
from service.book import Book, InstanceState, StudyState, open_book, queueing, same_uid, walk
from service.book.leases import free_leases, renew
from service.book.receipts import Arrival, QuietRule, commit_arrival, known_digests
from service.book.states import checked_instance_change, checked_study_change
from tests.service import book_writer

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
QUIET = QuietRule(quiet_period_s=30, max_wait_s=900)


def arrival(
    number: int = 1, sha: str = "a", *, at: datetime = NOW, ignored: str = "", study: str = "1.9"
) -> Arrival:
    return Arrival(
        sop_instance_uid=f"1.2.{number}",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.1.1",
        study_instance_uid=study,
        series_instance_uid="1.8",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        modality="DX",
        digest=sha,
        size_bytes=10,
        spool_key=f"{number}-{sha}-{at.timestamp()}",
        calling_ae_title="MODALITY",
        called_ae_title="RADDRAFT",
        calling_host="127.0.0.1",
        received_at_utc=at,
        ignored_code=ignored,
        ignored_reason=ignored,
    )


def test_resend_of_same_bytes_is_receipted_and_does_no_work(book: Book) -> None:
    first = commit_arrival(book.engine, arrival(), QUIET)
    again = commit_arrival(book.engine, arrival(at=NOW + timedelta(hours=1)), QUIET)
    account = book.account()
    assert again == first
    assert known_digests(book.engine, "1.2.1") == [("a", True)]
    assert (account.acknowledged, account.objects, account.balanced) == (2, 1, True)
    (study,) = book.studies()
    assert study.updated_at_utc == NOW


def test_same_uid_with_other_bytes_is_kept_and_waits_to_be_compared(book: Book) -> None:
    commit_arrival(book.engine, arrival(), QUIET)
    commit_arrival(book.engine, arrival(sha="b"), QUIET)
    assert book.account().states["received"] == 1
    (instance_id,) = same_uid.instances_to_compare(book.engine)
    pair = same_uid.pair_to_compare(book.engine, instance_id)
    assert pair is not None
    assert (pair[0].digest, pair[1].digest) == ("a", "b")


def test_study_is_due_when_quiet_and_never_later_than_the_cap(book: Book) -> None:
    commit_arrival(book.engine, arrival(1), QUIET)
    assert queueing.close_quiet_studies(book.engine, NOW + timedelta(seconds=29)) == []
    commit_arrival(book.engine, arrival(2, at=NOW + timedelta(seconds=29)), QUIET)
    assert queueing.close_quiet_studies(book.engine, NOW + timedelta(seconds=58)) == []
    assert len(queueing.close_quiet_studies(book.engine, NOW + timedelta(seconds=59))) == 1
    for number in range(40):
        commit_arrival(
            book.engine, arrival(number, at=NOW + timedelta(seconds=25 * number), study="1.10"), QUIET
        )
    assert len(queueing.close_quiet_studies(book.engine, NOW + timedelta(seconds=900))) == 1


def test_a_study_of_ignored_objects_only_is_never_queued(book: Book) -> None:
    commit_arrival(book.engine, arrival(ignored="not-an-image"), QUIET)
    assert queueing.close_quiet_studies(book.engine, NOW + timedelta(days=1)) == []
    (study,) = book.studies()
    assert study.state == StudyState.IGNORED


def queued_study(book: Book) -> int:
    commit_arrival(book.engine, arrival(), QUIET)
    (study_id,) = queueing.close_quiet_studies(book.engine, NOW + timedelta(seconds=60))
    return study_id


def test_only_one_worker_gets_the_lease_and_a_late_one_changes_nothing(book: Book) -> None:
    study_id = queued_study(book)
    early = walk.lease_study(book.engine, study_id, StudyState.READING, owner="a", lease_s=10, now=NOW)
    assert early is not None
    assert walk.lease_study(book.engine, study_id, StudyState.READING, owner="b", lease_s=10, now=NOW) is None
    later = NOW + timedelta(seconds=11)
    second = walk.lease_study(book.engine, study_id, StudyState.READING, owner="b", lease_s=10, now=later)
    assert second is not None and second.attempt == 2
    with pytest.raises(Transient, match="stale-lease"):
        walk.put_back(book.engine, early, code="x", reason="x", due_at_utc=later, now=later)
    assert not renew(book.engine, early, lease_s=10, now=later)
    assert renew(book.engine, second, lease_s=10, now=later)


def test_leases_of_a_dead_worker_are_handed_on_at_once(book: Book) -> None:
    study_id = queued_study(book)
    walk.lease_study(book.engine, study_id, StudyState.READING, owner="host/7/1", lease_s=1000, now=NOW)
    assert free_leases(book.engine, "host/8/", now=NOW) == 0
    assert free_leases(book.engine, "host/7/", now=NOW) == 1
    assert queueing.forgotten_studies(book.engine, NOW, 1, StudyState.TELLING) == []
    assert queueing.forgotten_studies(book.engine, NOW, 1, StudyState.READING) == [study_id]
    assert (
        walk.lease_study(book.engine, study_id, StudyState.READING, owner="b", lease_s=10, now=NOW)
        is not None
    )


def test_a_lost_message_is_found_again(book: Book) -> None:
    study_id = queued_study(book)
    lost = NOW + timedelta(seconds=75)
    assert queueing.forgotten_studies(book.engine, lost, 30, StudyState.READING) == []
    later = lost + timedelta(seconds=30)
    assert queueing.forgotten_studies(book.engine, later, 30, StudyState.READING) == [study_id]


def test_an_image_that_comes_during_a_reading_makes_another_one(book: Book) -> None:
    study_id = queued_study(book)
    lease = walk.lease_study(book.engine, study_id, StudyState.READING, owner="a", lease_s=10, now=NOW)
    assert lease is not None
    commit_arrival(book.engine, arrival(2, at=NOW + timedelta(seconds=61)), QUIET)
    walk.set_aside(book.engine, lease, [], now=NOW + timedelta(seconds=62))
    (study,) = book.studies()
    assert study.state == StudyState.RECEIVING


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM receipts WHERE id = 2",
        "DELETE FROM instances WHERE id = 1",
        "DELETE FROM receipts WHERE id = 1",
    ],
)
def test_the_account_does_not_balance_when_a_row_is_removed(book: Book, damage: str) -> None:
    for number in (1, 1, 2):
        commit_arrival(book.engine, arrival(number), QUIET)
    assert book.account().balanced
    postgresql = book.engine.dialect.name == "postgresql"
    # Both databases refuse to orphan a receipt while their foreign keys are watched.
    careless = "SET session_replication_role = replica" if postgresql else "PRAGMA foreign_keys = OFF"
    with book.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as raw:
        raw.execute(text("ROLLBACK" if not postgresql else "SELECT 1"))
        raw.execute(text(careless))
        raw.execute(text(damage))
    assert not book.account().balanced


def test_forbidden_state_changes_are_refused() -> None:
    with pytest.raises(Permanent):
        checked_study_change(StudyState.IGNORED, StudyState.DONE)
    with pytest.raises(Permanent):
        checked_instance_change(InstanceState.DUPLICATE, InstanceState.ANALYSED)


def test_a_book_belongs_to_one_spool(book: Book) -> None:
    book.claim_spool("one")
    book.claim_spool("one")
    with pytest.raises(Permanent, match="wrong-spool"):
        book.claim_spool("two")


def test_four_processes_write_the_book_and_never_find_it_locked(book: Book, book_url: str) -> None:
    command = [sys.executable, "-m", "tests.service.book_writer", book_url]
    writers = [
        subprocess.Popen([*command, str(number)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for number in range(4)
    ]
    for writer in writers:
        printed, _ = writer.communicate(timeout=120)
        assert writer.returncode == 0, printed
    account = book.account()
    assert account.balanced, account.problems
    assert account.objects == 4 * book_writer.OBJECTS
    assert account.acknowledged == 4 * book_writer.OBJECTS * 2


def test_two_threads_with_the_same_object_make_one_row_and_two_receipts(book: Book, book_url: str) -> None:
    keys: list[str] = []

    def commit() -> None:
        own = open_book(book_url)
        keys.append(commit_arrival(own.engine, arrival(), QUIET))
        own.engine.dispose()

    threads = [Thread(target=commit) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    account = book.account()
    assert (account.acknowledged, account.objects, account.balanced) == (2, 1, True)


def test_racing_senders_of_one_uid_with_different_bytes_make_one_candidate(book: Book, book_url: str) -> None:
    def commit(sha: str) -> None:
        own = open_book(book_url)
        commit_arrival(own.engine, arrival(sha=sha), QUIET)
        own.engine.dispose()

    threads = [Thread(target=commit, args=(sha,)) for sha in "abcdefgh"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    account = book.account()
    assert (account.states["waiting"], account.states["received"]) == (1, 7)
