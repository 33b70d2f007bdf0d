"""A disk that is full at one write and has room again at the next: below a folder, and of a SQLite book."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

import pytest
from sqlalchemy import Engine, event

_CHANGES = ("INSERT", "UPDATE", "DELETE")


class FailingDisk:
    """Counts the writes of files below a folder and of book changes, and fails the one it is told to.

    Parameters
    ----------
    folder
        Creating, writing, flushing and renaming files below it are writes.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = str(folder.resolve())
        self._lock = Lock()
        self._left = 0
        self.has_failed = False
        for name in ("open", "write", "fsync", "rename"):
            monkeypatch.setattr(os, name, self._watched(getattr(os, name), is_open=name == "open"))

    def fail_at(self, number: int) -> None:
        """Let write `number` from now on fail, and no other."""
        self._left, self.has_failed = number, False

    def mend(self) -> None:
        """Fail no more."""
        self._left = 0

    def watch(self, engine: Engine) -> None:
        """Count this book's changes and commits too; they fail as SQLite's do."""
        disk = self

        class Cursor(sqlite3.Cursor):
            def execute(self, sql: str, *more: Any) -> Any:
                disk._count_change(sql)
                return super().execute(sql, *more)

            def executemany(self, sql: str, *more: Any) -> Any:
                disk._count_change(sql)
                return super().executemany(sql, *more)

        class Connection(sqlite3.Connection):
            def cursor(self, *_: Any) -> Any:
                return super().cursor(Cursor)

            def commit(self) -> None:
                if self.in_transaction and disk._is_the_one():
                    raise _full_book()
                super().commit()

        def use(_dialect: object, _record: object, _arguments: object, more: dict[str, Any]) -> None:
            more["factory"] = Connection

        event.listen(engine, "do_connect", use)
        engine.dispose()

    def _count_change(self, sql: str) -> None:
        if sql.lstrip().upper().startswith(_CHANGES) and self._is_the_one():
            raise _full_book()

    def _is_the_one(self) -> bool:
        with self._lock:
            if self._left == 0:
                return False
            self._left -= 1
            self.has_failed = self._left == 0
            return self.has_failed

    def _watched(self, real: Callable[..., Any], *, is_open: bool) -> Callable[..., Any]:
        def call(first: Any, *more: Any, **named: Any) -> Any:
            # Opening for reading is no write; opening a folder is the start of its flush.
            is_write = not is_open or bool(more and more[0] & (os.O_CREAT | os.O_DIRECTORY))
            if is_write and self._path(first).startswith(self._folder) and self._is_the_one():
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(first, *more, **named)

        return call

    @staticmethod
    def _path(first: Any) -> str:
        return os.readlink(f"/proc/self/fd/{first}") if isinstance(first, int) else os.path.realpath(first)


def _full_book() -> sqlite3.OperationalError:
    return sqlite3.OperationalError("database or disk is full")
