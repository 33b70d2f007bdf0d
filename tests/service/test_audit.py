"""Promises of the audit log: complete, unchanged, without patients' data, on both databases."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from clinical import Transient
from service.auditing import RefusalLog, note_configuration
from service.book import Book
from service.book.audit import (
    Action,
    AuditEvent,
    Subject,
    audit_entries,
    newest_audit_entries,
    note,
    record,
    verify_audit,
)
from service.book.database import writing
from service.book.receipts import commit_arrival
from service.settings import Settings
from service.settings.sections import NodeSection
from tests.service import book_writer
from tests.service.test_account_book import QUIET, arrival

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def events(book: Book, count: int) -> None:
    for number in range(1, count + 1):
        event = AuditEvent(Action.VIEW, "user:näme", Subject.STUDY, number, detail="study")
        record(book.engine, event, now=NOW + timedelta(microseconds=number))


def damage(book: Book, statement: str) -> None:
    """Change the table as somebody with the database's own rights would: triggers off."""
    postgresql = book.engine.dialect.name == "postgresql"
    with book.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as raw:
        if postgresql:
            raw.execute(text("SET session_replication_role = replica"))
        else:
            raw.execute(text("ROLLBACK"))
            for name in ("update", "delete"):
                raw.execute(text(f"DROP TRIGGER audit_log_no_{name}"))
        raw.execute(text(statement))
        if postgresql:
            raw.execute(text("SET session_replication_role = DEFAULT"))


def test_every_row_vouches_for_the_one_before(book: Book) -> None:
    events(book, 5)
    verdict = verify_audit(book.engine)
    assert (verdict.whole, verdict.rows) == (True, 5)
    assert verify_audit(book.engine, verdict.head).whole
    events(book, 2)
    assert verify_audit(book.engine, verdict.head).whole


@pytest.mark.parametrize(
    ("statement", "row"),
    [
        ("UPDATE audit_log SET actor = 'user:other' WHERE number = 3", 3),
        ("UPDATE audit_log SET subject_id = NULL WHERE number = 2", 2),
        ("UPDATE audit_log SET at_utc = '2026-01-01 00:00:00' WHERE number = 4", 4),
        ("DELETE FROM audit_log WHERE number = 2", 2),
        ("DELETE FROM audit_log WHERE number = 1", 1),
        ("UPDATE audit_log SET number = 9 WHERE number = 4", 4),
    ],
)
def test_a_changed_or_removed_row_breaks_the_chain_at_its_place(book: Book, statement: str, row: int) -> None:
    events(book, 5)
    damage(book, statement)
    verdict = verify_audit(book.engine)
    assert (verdict.whole, verdict.broken_at) == (False, row)


def test_a_log_cut_off_at_its_end_is_found_by_a_head_kept_elsewhere(book: Book) -> None:
    events(book, 5)
    kept = verify_audit(book.engine).head
    damage(book, "DELETE FROM audit_log WHERE number > 3")
    assert verify_audit(book.engine).whole
    assert not verify_audit(book.engine, kept).whole


def test_a_log_written_anew_is_found_by_a_head_kept_elsewhere(book: Book) -> None:
    events(book, 5)
    kept = verify_audit(book.engine).head
    damage(book, "DELETE FROM audit_log")
    for _ in range(2):
        events(book, 4)
    assert verify_audit(book.engine).whole
    assert not verify_audit(book.engine, kept).whole


@pytest.mark.parametrize("statement", ["UPDATE audit_log SET actor = 'x'", "DELETE FROM audit_log"])
def test_the_database_refuses_to_change_the_log(book: Book, statement: str) -> None:
    events(book, 1)
    with pytest.raises(DBAPIError, match="append-only"), book.engine.begin() as connection:
        connection.execute(text(statement))
    assert verify_audit(book.engine).rows == 1


def test_an_event_is_committed_with_its_change_or_not_at_all(book: Book) -> None:
    with pytest.raises(RuntimeError), writing(book.engine) as session:
        note(session, AuditEvent(Action.PURGE, "user:me"), NOW)
        raise RuntimeError
    assert audit_entries(book.engine) == []


def test_every_receipt_is_in_the_log_with_its_sender_and_without_uids(book: Book) -> None:
    for number in (1, 1, 2):
        commit_arrival(book.engine, arrival(number), QUIET)
    found = audit_entries(book.engine, action=Action.RECEIVE)
    assert [entry.actor for entry in found] == ["ae:MODALITY@127.0.0.1"] * 3
    assert [(entry.subject, entry.subject_id) for entry in found] == [
        ("instance", 1),
        ("instance", 1),
        ("instance", 2),
    ]
    assert all("1.2." not in entry.actor + entry.detail + entry.outcome for entry in found)


def test_control_characters_of_a_caller_forge_no_lines(book: Book) -> None:
    record(book.engine, AuditEvent(Action.REFUSE, "ae:A\n7 ok\x1b[2J@host"), now=NOW)
    (entry,) = newest_audit_entries(book.engine, 1)
    assert entry.actor == "ae:A?7 ok?[2J@host"
    assert verify_audit(book.engine).whole


def test_a_flood_of_refused_calls_is_a_trickle_of_rows(book: Book) -> None:
    log = RefusalLog(book.engine, interval_s=60)
    for second in range(130):
        log.refused("ae:EVIL@10.0.0.9", "calling-ae-unknown", now=NOW + timedelta(seconds=second))
    found = audit_entries(book.engine)
    assert [entry.detail for entry in found] == ["", "and 59 more before", "and 59 more before"]
    assert {entry.outcome for entry in found} == {"calling-ae-unknown"}


def test_a_changed_configuration_is_recorded_by_section_and_without_values(book: Book) -> None:
    before = Settings(data_dir=Path("/nowhere"))
    note_configuration(book.engine, before, "user:me", now=NOW)
    assert note_configuration(book.engine, before, "user:me", now=NOW) == ()
    after = Settings(data_dir=Path("/nowhere"), node=NodeSection(ae_title="OTHER"))
    assert note_configuration(book.engine, after, "user:me", now=NOW) == ("node",)
    assert newest_audit_entries(book.engine, 1)[0].detail == "changed: node"


def test_a_changed_secret_is_a_changed_configuration(book: Book) -> None:
    def settings(secret: str) -> Settings:
        ehr = {"name": "ehr", "type": "fhir", "base_url": "http://ehr.example/", "bearer_token": secret}
        return Settings(data_dir=Path("/nowhere"), destinations=(ehr,))  # type: ignore[arg-type]

    note_configuration(book.engine, settings("one"), "user:me", now=NOW)
    assert note_configuration(book.engine, settings("two"), "user:me", now=NOW) == ("destinations",)


def test_processes_that_write_at_once_make_one_chain(book: Book, book_url: str) -> None:
    command = [sys.executable, "-m", "tests.service.book_writer", book_url]
    writers = [subprocess.Popen([*command, str(number)]) for number in range(3)]
    assert [writer.wait(120) for writer in writers] == [0, 0, 0]
    verdict = verify_audit(book.engine)
    assert verdict.whole, verdict
    assert verdict.rows == 3 * book_writer.OBJECTS * 2


def test_without_the_book_an_event_is_an_error_and_not_silence(book: Book) -> None:
    with book.engine.begin() as connection:
        connection.execute(text("DROP TABLE audit_log"))
    with pytest.raises((Transient, DBAPIError)):
        record(book.engine, AuditEvent(Action.VIEW, "user:me"), now=NOW)
