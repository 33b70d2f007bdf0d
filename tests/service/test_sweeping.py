"""The sweeper finds what lost its message, and does not make a long queue longer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from sqlalchemy import select

from clinical import Transient
from service.book import Book, DeliveryState, StudyState, queueing
from service.book.database import reading, writing
from service.book.tables import StudyRow
from service.clock import now_utc
from service.queues import GPU_QUEUE, IO_QUEUE, Hints, make_celery
from service.scheduler import Sweeper
from tests.brokers import lone_broker
from tests.promises.installation import free_port
from tests.service.told_results import draft_row, study_row, unbuilt_delivery_row

_WAITING = 300


@pytest.fixture
def broker(program: Callable[[str], Path], tmp_path: Path) -> Iterator[redis.Redis]:
    """An empty broker of the test's own."""
    with lone_broker(program("redis-server"), tmp_path) as port, redis.Redis(port=port) as client:
        yield client


def sweeper_on(book: Book, port: int) -> Sweeper:
    """One for which every message is old at once."""
    return Sweeper(book.engine, Hints(make_celery(f"redis://127.0.0.1:{port}/0")), hint_age_s=0)


@pytest.fixture
def sweeper(book: Book, broker: redis.Redis) -> Sweeper:
    return sweeper_on(book, broker.connection_pool.connection_kwargs["port"])


def fill(book: Book) -> None:
    """Studies to read, to tell and to deliver, many of each."""
    now = now_utc()
    with writing(book.engine) as session:
        for number in range(_WAITING):
            study_row(session, f"1.2.1.{number}", state=StudyState.QUEUED)
            study_row(session, f"1.2.2.{number}", state=StudyState.DRAFTED)
            draft = draft_row(session, study_row(session, f"1.2.3.{number}").id)
            unbuilt_delivery_row(session, draft.id, "sc", "pacs", DeliveryState.PENDING, due_at_utc=now)


def test_a_queue_that_nobody_works_off_is_not_made_longer(
    book: Book, broker: redis.Redis, sweeper: Sweeper
) -> None:
    fill(book)
    sweeper.sweep()
    first = (broker.llen(GPU_QUEUE), broker.llen(IO_QUEUE))
    assert 0 < first[0] < _WAITING and 0 < first[1] < 2 * _WAITING
    for _ in range(20):
        assert sweeper.sweep() == 0
    assert (broker.llen(GPU_QUEUE), broker.llen(IO_QUEUE)) == first
    assert first == (sweeper.hints.waiting(GPU_QUEUE), sweeper.hints.waiting(IO_QUEUE))


def test_a_long_queue_of_one_kind_leaves_the_other_alone(
    book: Book, broker: redis.Redis, sweeper: Sweeper
) -> None:
    fill(book)
    sweeper.sweep()
    broker.delete(IO_QUEUE)
    reading = broker.llen(GPU_QUEUE)
    sweeper.sweep()
    assert broker.llen(GPU_QUEUE) == reading
    assert broker.llen(IO_QUEUE) > 0


def test_what_a_flushed_broker_lost_is_hinted_at_again_until_nothing_is_left(
    book: Book, broker: redis.Redis, sweeper: Sweeper
) -> None:
    fill(book)
    sweeper = replace(sweeper, hint_age_s=3600)
    given = []
    # A worker that takes every message, and answers none.
    while hints := sweeper.sweep():
        given.append(hints)
        broker.flushall()
    assert sum(given) == 3 * _WAITING


def test_the_most_urgent_studies_are_hinted_at_first(book: Book) -> None:
    with writing(book.engine) as session:
        for number in range(5):
            study_row(session, f"1.2.1.{number}", state=StudyState.QUEUED)
        urgent = study_row(session, "1.2.1.9", state=StudyState.QUEUED, priority=1).id
    assert queueing.forgotten_studies(book.engine, now_utc(), 0, StudyState.READING, 1) == [urgent]


def test_a_study_that_waits_for_its_next_attempt_is_not_hinted_at(book: Book) -> None:
    now = now_utc()
    later = now + timedelta(minutes=1)
    with writing(book.engine) as session:
        waiting = study_row(session, "1.2.3", state=StudyState.QUEUED, due_at_utc=later).id
    assert queueing.forgotten_studies(book.engine, now, 0, StudyState.READING) == []
    assert queueing.forgotten_studies(book.engine, later, 0, StudyState.READING) == [waiting]


def test_without_a_broker_quiet_studies_are_closed_and_the_hints_are_given_later(
    book: Book, broker: redis.Redis
) -> None:
    long_ago = now_utc() - timedelta(hours=1)
    with writing(book.engine) as session:
        study_row(session, "1.2.3", state=StudyState.RECEIVING, due_at_utc=long_ago)
    with pytest.raises(Transient, match="broker-away"):
        sweeper_on(book, free_port()).sweep()
    port = broker.connection_pool.connection_kwargs["port"]
    with reading(book.engine) as session:
        assert session.scalars(select(StudyRow.state)).all() == [StudyState.QUEUED]
    assert sweeper_on(book, port).sweep() == 1
    assert broker.llen(GPU_QUEUE) == 1
