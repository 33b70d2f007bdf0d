"""Account books for the tests of the service: every promise holds on both databases."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.book import Book, open_book
from tests.postgres import PostgresServer


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.interop)])
def book_url(request: pytest.FixtureRequest, tmp_path: Path, empty_book: Path) -> str:
    """URL of a migrated, empty account book."""
    if request.param == "sqlite":
        return f"sqlite:///{shutil.copy(empty_book, tmp_path / 'book.sqlite')}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.new_book_url()


@pytest.fixture
def book(book_url: str) -> Iterator[Book]:
    """The account book at `book_url`, opened."""
    book = open_book(book_url)
    yield book
    book.engine.dispose()
