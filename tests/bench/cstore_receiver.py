"""One listener process of the benchmark: the product's own listener, spool and account book on an inherited socket."""

from __future__ import annotations

import signal
import socket
import sys
import threading
from pathlib import Path

from dicom_node import DigestAlgorithm, Ledger, Listener, ListenerSettings, PosixSpool
from service.book import migrate, open_engine
from service.book.receipts import QuietRule
from service.intake import BookLedger
from tests.dicom_node.sqlite_ledger import SqliteLedger


def listening_socket() -> socket.socket:
    """A listening socket on a free loopback port."""
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", 0))
    listening.listen(64)
    return listening


def ledger_of(kind: str, folder: Path) -> Ledger:
    """The account book (``"book"``), or the least SQLite ledger there is (``"sqlite"``)."""
    if kind == "sqlite":
        return SqliteLedger(folder / "ledger.sqlite")
    url = f"sqlite:///{folder / 'book.sqlite'}"
    migrate(url)
    return BookLedger(open_engine(url), QuietRule(quiet_period_s=30.0, max_wait_s=900.0))


def main() -> None:
    """Listen until SIGTERM."""
    descriptor, folder, kind = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    listener = Listener(
        ListenerSettings(),
        PosixSpool(folder / "spool", DigestAlgorithm.BLAKE3),
        ledger_of(kind, folder),
        listening_socket=socket.socket(fileno=descriptor),
    )
    listener.start()
    print("listening", flush=True)
    stop.wait()
    listener.stop()


if __name__ == "__main__":
    main()
