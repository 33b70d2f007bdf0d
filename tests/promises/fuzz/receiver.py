"""A listener process with the account book behind it, and what it has of each object it was sent."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from clinical import Transient
from dicom_node import Peer, PosixSpool, echo
from service.book import Account, Book, open_book
from tests.bench.cstore_receiver import ledger_of, listening_socket
from tests.bench.memory import peak_rss_bytes

_REPOSITORY = Path(__file__).resolve().parents[3]


@dataclass
class Receiver:
    """The process, and the book and spool it writes."""

    process: psutil.Popen
    port: int
    book: Book
    spool: PosixSpool
    folder: Path

    def receipts(self) -> int:
        """Objects the book says were acknowledged."""
        with self.book.engine.connect() as connection:
            return int(connection.exec_driver_sql("SELECT count(*) FROM receipts").scalar_one())

    def rows(self) -> set[str]:
        """Spool keys of every object in the book."""
        with self.book.engine.connect() as connection:
            return set(connection.exec_driver_sql("SELECT spool_key FROM instances").scalars())

    def kept_under(self, sop_instance_uid: str) -> list[Path]:
        """Files of what came under this UID."""
        query = "SELECT spool_key FROM instances WHERE sop_instance_uid = ?"
        with self.book.engine.connect() as connection:
            keys = connection.exec_driver_sql(query, (sop_instance_uid,)).scalars()
            return [self.spool.path(key) for key in keys]

    def unfinished(self) -> list[Path]:
        """Files of objects that were never finished."""
        return list(self.folder.glob("spool/**/.part-*"))

    def account(self) -> Account:
        """The whole balance, digests of the files with it."""
        return self.book.account(self.spool, deep=True)

    def is_well(self) -> bool:
        """Whether it still answers."""
        return echo(Peer("RADDRAFT", "127.0.0.1", self.port), calling_ae_title="MODALITY") == 0x0000

    def rss_bytes(self) -> int:
        """Memory it holds now."""
        return int(self.process.memory_info().rss)

    def peak_rss_bytes(self) -> int:
        """The most memory it ever held."""
        return peak_rss_bytes(self.process.pid)


@contextmanager
def receiver(folder: Path) -> Iterator[Receiver]:
    """A receiver in `folder`, until the context is left."""
    ledger_of("book", folder)
    book = open_book(f"sqlite:///{folder / 'book.sqlite'}")
    with listening_socket() as listening:
        port = int(listening.getsockname()[1])
        command = [
            sys.executable,
            "-m",
            "tests.bench.cstore_receiver",
            str(listening.fileno()),
            str(folder),
            "book",
        ]
        with (folder / "receiver.log").open("wb") as log:
            process = psutil.Popen(
                command, cwd=_REPOSITORY, pass_fds=(listening.fileno(),), stdout=log, stderr=subprocess.STDOUT
            )
    try:
        running = Receiver(process, port, book, PosixSpool(folder / "spool"), folder)
        _wait_for(running)
        yield running
    finally:
        process.terminate()
        process.wait(30)
        book.engine.dispose()


def _wait_for(running: Receiver) -> None:
    ends_s = time.monotonic() + 120
    while True:
        try:
            if running.is_well():
                return
        except Transient:
            if time.monotonic() > ends_s or not running.process.is_running():
                raise
            time.sleep(0.1)
