"""DICOMweb over an account book."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_node import PosixSpool
from service.book import migrate, open_book
from tests.service.dicomweb.served import Web


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    """The API over an empty account book."""
    url = f"sqlite:///{tmp_path / 'book.sqlite'}"
    migrate(url)
    book = open_book(url)
    yield Web(book, PosixSpool(tmp_path / "spool"), PosixSpool(tmp_path / "results"))
    book.engine.dispose()
