"""A PostgreSQL server of the tests' own: started on a socket in a temporary folder, gone with the test session."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp
from uuid import uuid4

import psycopg
from psycopg import sql

from service.book import migrate

# Debian keeps the server's programs off the PATH.
_FOLDERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
_USER = "raddraft"


class PostgresServer:
    """One server process family; every test gets a database of its own from it."""

    def __init__(self, bin_folder: Path) -> None:
        self._bin = bin_folder
        # A socket's path may have 107 bytes: pytest's folders are longer.
        self.folder = Path(mkdtemp(prefix="pg-"))
        self._data = self.folder / "data"
        self._empty_book = ""

    def start(self) -> None:
        """Create the cluster and start it; the server refuses to run as root."""
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        self._run("initdb", "-D", str(self._data), "-U", _USER, "-A", "trust", "-E", "UTF8", "--no-sync")
        self.start_again()

    def start_again(self) -> None:
        """Start the server on the cluster that is there, after a crash too."""
        options = f"-c listen_addresses='' -c unix_socket_directories='{self.folder}' -c max_connections=200"
        log = str(self.folder / "log")
        self._run("pg_ctl", "-D", str(self._data), "-l", log, "-w", "-t", "60", "-o", options, "start")

    def kill(self) -> None:
        """End it as a power cut would: no checkpoint, no goodbye to its clients."""
        self._run("pg_ctl", "-D", str(self._data), "-m", "immediate", "stop")

    def new_database_url(self) -> str:
        """URL of a new, empty database."""
        return self._url(self._new_database("template1"))

    def new_book_url(self) -> str:
        """URL of a new, migrated account book: a copy, since making one takes longer than most tests."""
        if not self._empty_book:
            made = self._new_database("template1")
            migrate(self._url(made))
            self._empty_book = made
        return self._url(self._new_database(self._empty_book))

    def _new_database(self, template: str) -> str:
        name = f"book_{uuid4().hex}"
        # Autocommit: databases are made outside of transactions.
        with psycopg.connect(host=str(self.folder), user=_USER, dbname="postgres", autocommit=True) as server:
            server.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*map(sql.Identifier, (name, template)))
            )
        return name

    def _url(self, name: str) -> str:
        return f"postgresql+psycopg://{_USER}@/{name}?host={self.folder}"

    def close(self) -> None:
        """Stop the server and remove its folder."""
        if (self._data / "postmaster.pid").exists():
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, name: str, *arguments: str) -> None:
        command = [str(self._bin / name), *arguments]
        if os.geteuid() == 0:
            command = ["runuser", "-u", "postgres", "--", *command]
        with (self.folder.parent / f"{self.folder.name}.out").open("ab") as out:
            # Not a pipe: the server inherits it and would keep it open.
            done = subprocess.run(
                command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, check=False, timeout=120, cwd="/"
            )
        printed = Path(out.name)
        text = printed.read_text(errors="replace")
        printed.unlink()
        assert done.returncode == 0, f"{name} failed:\n{text}"


def find_postgres(program: Callable[[str], Path]) -> Path:
    """Folder of the server's programs; `program` skips or fails the test where there is none."""
    for folder in _FOLDERS:
        if (folder / "initdb").exists():
            return folder
    return program("initdb").parent
