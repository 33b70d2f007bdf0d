"""The running counts are those of the rows, whatever is done to them, and the account trusts them no further."""

from __future__ import annotations

import random
import subprocess
import sys
from datetime import timedelta

import pytest
from sqlalchemy import text

from service.book import Book, StudyCursor
from service.book.database import reading
from service.book.receipts import commit_arrival
from service.book.tallies import Tallies, add_up, counted_rows, tallies
from tests.service.test_account_book import NOW, QUIET, arrival

_STATES = ("waiting", "analysed", "ignored", "quarantined")


def both(book: Book) -> tuple[Tallies, Tallies]:
    with reading(book.engine) as session:
        return tallies(session), counted_rows(session)


def change_at_random(book: Book, draw: random.Random) -> None:
    """One statement of somebody's: rows come, go and change, singly, many at once, and to what they are already."""
    with reading(book.engine) as session:
        ids = session.execute(text("SELECT id FROM instances ORDER BY id")).scalars().all()
    if not ids or draw.random() < 0.4:
        number = draw.randrange(10_000)
        commit_arrival(book.engine, arrival(number, study=f"1.9.{number % 7}"), QUIET)
        return
    statement = draw.choice(
        [
            "UPDATE instances SET state = :state WHERE id = :id",
            "UPDATE instances SET state = state WHERE id <= :id",
            "UPDATE instances SET state = :state, receipt_count = receipt_count + 2 WHERE id <= :id",
            "UPDATE studies SET state = 'done' WHERE id <= :id",
            "UPDATE receipts SET kind = 'adopted' WHERE instance_id = :id",
            "DELETE FROM receipts WHERE instance_id = :id",
        ]
    )
    terms = {"state": draw.choice(_STATES), "id": draw.choice(ids)}
    used = {name: value for name, value in terms.items() if f":{name}" in statement}
    with book.engine.begin() as connection:
        connection.execute(text(statement), used)


@pytest.mark.parametrize("seed", range(2))
def test_running_counts_are_those_of_the_rows_after_any_changes(book: Book, seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(40):
        change_at_random(book, draw)
    running, counted = both(book)
    assert running == counted
    assert running


def test_a_change_that_is_rolled_back_is_not_counted(book: Book) -> None:
    commit_arrival(book.engine, arrival(), QUIET)
    with book.engine.connect() as connection:
        connection.execute(text("UPDATE instances SET state = 'ignored'"))
        connection.rollback()
    running, counted = both(book)
    assert running == counted


def test_adding_up_changes_no_count(book: Book) -> None:
    commit_arrival(book.engine, arrival(), QUIET)
    with book.engine.begin() as connection:
        for state in ("ignored", "waiting") * 600:
            connection.execute(text("UPDATE instances SET state = :state"), {"state": state})
    before, _ = both(book)
    assert add_up(book.engine) > 2000
    after, counted = both(book)
    assert before == after == counted
    assert add_up(book.engine) == 0


def test_counts_of_processes_that_write_and_add_up_at_once_do_not_drift(book: Book, book_url: str) -> None:
    command = [sys.executable, "-m", "tests.service.book_writer", book_url]
    writers = [subprocess.Popen([*command, str(number)]) for number in range(2)]
    while any(writer.poll() is None for writer in writers):
        add_up(book.engine)
        running, counted = both(book)
        assert running == counted
    assert [writer.returncode for writer in writers] == [0, 0]


def test_a_drifted_count_is_found_by_the_deep_account(book: Book) -> None:
    commit_arrival(book.engine, arrival(), QUIET)
    with book.engine.begin() as connection:
        connection.execute(text("INSERT INTO tallies (counted, state, number) VALUES ('studies', 'done', 1)"))
    deep = book.account(deep=True)
    assert [problem.code for problem in deep.problems] == ["counts-drifted"]
    assert "studies/done" in deep.problems[0].what


def test_what_stands_still_is_named_with_its_time(book: Book) -> None:
    commit_arrival(book.engine, arrival(), QUIET)
    (stuck,) = book.account().stuck
    assert (stuck.what, stuck.state, stuck.since_utc, stuck.study_instance_uid) == (
        "study",
        "receiving",
        NOW,
        "1.9",
    )
    assert book.account(stuck_after_s=10**9).stuck == ()
    assert book.account().balanced


def test_pages_by_place_hold_every_study_once(book: Book) -> None:
    for number in range(11):
        # Several studies change in the same microsecond: the row number then decides.
        at = NOW + timedelta(microseconds=number // 4)
        commit_arrival(book.engine, arrival(number, study=f"1.9.{number}", at=at), QUIET)
    whole = [study.study_row_id for study in book.studies()]
    seen: list[int] = []
    place: StudyCursor | None = None
    while page := book.studies(limit=3, after=place, state="receiving"):
        seen += [study.study_row_id for study in page]
        place = StudyCursor.parse(str(StudyCursor.of(page[-1])))
    assert seen == whole
    assert len(whole) == 11
