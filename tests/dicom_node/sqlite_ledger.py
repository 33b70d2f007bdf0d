"""A ledger on a SQLite file: the least that keeps the listener's promise."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from dicom_node import KnownObject, ReceivedObject


class SqliteLedger:
    """One table of objects and one of receipts, committed together and durably."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with closing(self._open()) as connection:
            connection.executescript(
                """
                CREATE TABLE IF NOT EXISTS object (
                    sop_instance_uid TEXT, digest TEXT, spool_key TEXT, size_bytes INTEGER,
                    ignored_reason TEXT, study_instance_uid TEXT, PRIMARY KEY (sop_instance_uid, digest));
                CREATE TABLE IF NOT EXISTS receipt (
                    sop_instance_uid TEXT, digest TEXT, calling_ae_title TEXT);
                """
            )

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=30, isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        return connection

    def known(self, sop_instance_uid: str) -> list[KnownObject]:
        query = "SELECT digest FROM object WHERE sop_instance_uid = ?"
        with closing(self._open()) as connection:
            return [KnownObject(digest, True) for (digest,) in connection.execute(query, (sop_instance_uid,))]

    def commit(self, received: ReceivedObject) -> str:
        identity = (received.sop_instance_uid, received.digest)
        with closing(self._open()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(
                "INSERT OR IGNORE INTO object VALUES (?, ?, ?, ?, ?, ?)",
                (
                    *identity,
                    received.spool_key,
                    received.size_bytes,
                    received.ignored_reason,
                    received.study_instance_uid,
                ),
            )
            connection.execute("INSERT INTO receipt VALUES (?, ?, ?)", (*identity, received.calling_ae_title))
            query = "SELECT spool_key FROM object WHERE sop_instance_uid = ? AND digest = ?"
            (kept,) = connection.execute(query, identity).fetchone()
            connection.execute("COMMIT")
            return str(kept)

    def objects(self) -> list[tuple[str, str, str, str]]:
        """(SOP Instance UID, spool key, digest of the file, ignored reason) of every object."""
        query = "SELECT sop_instance_uid, spool_key, digest, ignored_reason FROM object"
        with closing(self._open()) as connection:
            return connection.execute(query).fetchall()

    def receipts(self) -> int:
        """Number of success responses given."""
        with closing(self._open()) as connection:
            return int(connection.execute("SELECT count(*) FROM receipt").fetchone()[0])
