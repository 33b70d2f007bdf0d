"""Opening the account book's database: SQLite beside the spool, or PostgreSQL by URL."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event, func, make_url, select
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session

from clinical import Permanent, Transient

BUSY_TIMEOUT_S = 30.0
_LOOK_AGAIN_S = 0.01
_READ_ONLY = "raddraft_read_only"
_LAST_ACTS = "raddraft_last_acts"


def open_engine(url: str) -> Engine:
    """Engine with the durability the receive path promises. Make it after fork, never before.

    SQLite runs in WAL mode with ``synchronous=FULL`` (a commit is on disk when it returns), and every writing
    transaction starts with BEGIN IMMEDIATE, so that writers queue at the start instead of failing at the end.
    """
    parsed = make_url(url)
    # The library's errors would quote the values of a statement, and with them the patient.
    quiet: dict[str, Any] = {"hide_parameters": True, "pool_size": 8, "max_overflow": 16}
    # The connection that was used last still has the pages that were read last.
    quiet["pool_use_lifo"] = True
    if parsed.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True, **quiet)
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S}, **quiet)
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: Any, _record: object) -> None:
    # The driver must not open transactions of its own: BEGIN IMMEDIATE is ours to send.
    connection.isolation_level = None
    cursor = connection.cursor()
    _use_write_ahead_log(cursor)
    for pragma in (
        "synchronous=FULL",
        f"busy_timeout={int(BUSY_TIMEOUT_S * 1000)}",
        "foreign_keys=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _use_write_ahead_log(cursor: sqlite3.Cursor) -> None:
    ends_s = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            # SQLite does not wait here as it does elsewhere: two processes that make one new book at once would both
            # wait for the other's lock. The mode stays in the file, so this happens to a new book only.
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > ends_s:
                raise
            time.sleep(_LOOK_AGAIN_S)


def _begin_sqlite(connection: Connection) -> None:
    read_only = connection.get_execution_options().get(_READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


@contextmanager
def writing(engine: Engine) -> Iterator[Session]:
    """A short transaction that commits at its end and rolls back on any exception.

    Raises
    ------
    Transient
        ``book-unavailable`` if the database cannot be reached or stays locked.
    """
    with _silence_named(), Session(engine, expire_on_commit=False) as session, session.begin():
        yield session
        for act, noted in session.info.pop(_LAST_ACTS, {}).items():
            act(session, noted)


@contextmanager
def writing_rows(engine: Engine) -> Iterator[Connection]:
    """As `writing`, for statements of tables: a session costs more than several of them."""
    with _silence_named(), engine.begin() as connection:
        yield connection


@contextmanager
def _silence_named() -> Iterator[None]:
    try:
        yield
    except (OperationalError, DBAPIError) as error:
        if isinstance(error, OperationalError) or error.connection_invalidated:
            raise Transient(
                "book-unavailable", "the account book's database did not answer; check it"
            ) from error
        raise


def before_commit(session: Session, act: Callable[[Session, Sequence[Any]], None], noted: object) -> None:
    """Let `act` be among the transaction's last: it is called once, with everything noted for it in their order.

    What many transactions contend for is then locked for the commit alone, and always after their own rows.
    """
    session.info.setdefault(_LAST_ACTS, {}).setdefault(act, []).append(noted)


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """A transaction that only reads, from one snapshot; it waits for no writer.

    Raises
    ------
    Transient
        ``book-unavailable`` if the database cannot be reached.
    """
    with reading_rows(engine) as connection, Session(bind=connection) as session:
        yield session


@contextmanager
def reading_rows(engine: Engine) -> Iterator[Connection]:
    """As `reading`, for statements of tables: a session costs more than a short one of them."""
    try:
        with engine.connect() as raw:
            options: dict[str, Any] = {_READ_ONLY: True}
            if engine.dialect.name == "postgresql":
                # One snapshot for all statements, as SQLite gives it: a balance must not see half a commit.
                options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
            yield raw.execution_options(**options)
    except OperationalError as error:
        raise Transient("book-unavailable", "the account book's database did not answer; check it") from error


def one_at_a_time(transaction: Session | Connection, key: str) -> None:
    """Let no other transaction that names `key` run beside this one, until it ends.

    SQLite has one writer anyway; PostgreSQL would let two insert what each has just found missing.
    """
    connection = transaction.connection() if isinstance(transaction, Session) else transaction
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(key, 0))))


def migrate(url: str) -> None:
    """Bring the database to this version's tables (Alembic, ``service/book/migrations``).

    Raises
    ------
    Permanent
        ``book-from-newer-version`` if the database was written by a newer RadDraft.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    engine = open_engine(url)
    try:
        with engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                # Several roles may start at once: one migrates, the others wait (transaction-scoped lock).
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7239001)")
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except Exception as error:
        if "Can't locate revision" in str(error):
            raise Permanent(
                "book-from-newer-version", "the account book was written by a newer RadDraft; upgrade"
            ) from error
        raise
    finally:
        engine.dispose()
