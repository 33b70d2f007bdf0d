"""DICOMweb over an account book."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_node import PosixSpool
from service.book import open_book
from tests.service.dicomweb.served import Web


@pytest.fixture
def web(tmp_path: Path, empty_book: Path) -> Iterator[Web]:
    """The API over an empty account book."""
    book = open_book(f"sqlite:///{shutil.copy(empty_book, tmp_path / 'book.sqlite')}")
    yield Web(book, PosixSpool(tmp_path / "spool"), PosixSpool(tmp_path / "results"))
    book.engine.dispose()
