"""The migrations lead to the tables the code uses, on both databases, with what an older version wrote."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import text

import service.book
from service.book import Book, migrate
from service.book.tables import Base


def test_migrated_tables_are_those_of_the_code(book: Book) -> None:
    with book.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = compare_metadata(context, Base.metadata)
    assert differences == []


_OPEN_AT_ONCE = """
import multiprocessing, sys, time
from service.book import migrate, open_book

def open_one(url, at_s):
    while time.monotonic() < at_s:
        pass
    migrate(url)
    open_book(url).account()

fork = multiprocessing.get_context("fork")
for number in range(8):
    at_s = time.monotonic() + 0.05
    url = f"sqlite:///{sys.argv[1]}/{number}.sqlite"
    processes = [fork.Process(target=open_one, args=(url, at_s)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
"""


def test_processes_that_make_one_new_book_at_once_all_open_it(tmp_path: Path) -> None:
    finished = subprocess.run(
        [sys.executable, "-c", _OPEN_AT_ONCE, tmp_path],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr


def test_a_book_of_the_first_edition_keeps_its_rows(book: Book, book_url: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(service.book.__file__).parent / "migrations"))
    with book.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
    with book.engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO studies (study_instance_uid, state, first_received_at_utc, last_received_at_utc, "
                "updated_at_utc, lease_owner, fence, attempts, arrivals, arrivals_taken, draft_version, outcome, "
                "reason_code, reason) VALUES ('1.2.3', 'done', '2026-01-01', '2026-01-01', '2026-01-01', '', 0, 0, "
                "1, 1, 1, '', '', '')"
            )
        )
    migrate(book_url)
    (study,) = book.studies()
    assert (study.study_instance_uid, study.state) == ("1.2.3", "done")


def test_no_migration_loses_a_trigger_of_the_running_counts(book: Book) -> None:
    """SQLite drops a table's triggers where a migration rebuilds it."""
    sqlite = book.engine.dialect.name == "sqlite"
    query = (
        "SELECT tbl_name FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'tally_%'"
        if sqlite
        else "SELECT event_object_table FROM information_schema.triggers WHERE trigger_name LIKE 'tally_%'"
    )
    with book.engine.connect() as connection:
        found = sorted(connection.execute(text(query)).scalars().all())
    counted = {"instances": 2, "receipts": 1, "studies": 1, "deliveries": 1, "drafts": 2, "custody": 1}
    # One each for insert, update and delete.
    assert found == sorted(table for table, number in counted.items() for _ in range(3 * number))
