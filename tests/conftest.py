"""What every room's tests share: programs of other makers."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.book import migrate
from tests.postgres import PostgresServer, find_postgres

_REPOSITORY = Path(__file__).resolve().parents[1]
_SLOW_S, _QUICK_S = 20.0, 0.2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order files by how long their tests take, longest first: none of those is left over for one process alone."""
    took_s: Counter[Path] = Counter()
    for item in items:
        slow = item.get_closest_marker("slow")
        took_s[item.path] += _QUICK_S if slow is None else (*slow.args, _SLOW_S)[0]
    items.sort(key=lambda item: -took_s[item.path])


@pytest.fixture(scope="session")
def program() -> Callable[[str], Path]:
    """Path of another maker's program; without it the test is skipped, and failed where CI is set."""

    def find(name: str) -> Path:
        # Debian keeps servers in sbin, which an ordinary user's PATH leaves out.
        found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        if found is not None:
            return Path(found)
        if os.environ.get("CI"):
            pytest.fail(f"{name} is not installed, and in CI no peer may be missing", pytrace=False)
        pytest.skip(f"{name} is not on the PATH")

    return find


@pytest.fixture(scope="session")
def postgres(program: Callable[[str], Path]) -> Iterator[PostgresServer]:
    """A PostgreSQL server on a socket; one for each process that runs tests."""
    server = PostgresServer(find_postgres(program))
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def empty_book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated account book on SQLite, to be copied: making one takes longer than most tests."""
    path = tmp_path_factory.mktemp("empty-book") / "book.sqlite"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def real_files() -> Path:
    """Folder of real DICOM files: RADDRAFT_TEST_DATA, or ``shared/data`` beside the repository."""
    stated = os.environ.get("RADDRAFT_TEST_DATA")
    folder = Path(stated) if stated else _REPOSITORY.parent / "shared" / "data"
    if not (folder / "cxr").is_dir():
        pytest.skip("no real DICOM files: set RADDRAFT_TEST_DATA to their folder")
    return folder
