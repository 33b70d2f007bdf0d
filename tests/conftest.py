"""What every room's tests share: programs of other makers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.postgres import PostgresServer, find_postgres


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
