"""A listener on a free loopback port with a spool and a ledger on disk, and where the real DICOM files are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dicom_node import AllowedPeer, Ledger, Listener, ListenerSettings, Peer, PosixSpool, RefusedCall, Spool
from tests.dicom_node.sqlite_ledger import SqliteLedger


@dataclass(frozen=True)
class Node:
    """A running listener and what it writes to."""

    listener: Listener
    folder: Path
    spool: PosixSpool
    ledger: SqliteLedger

    @property
    def peer(self) -> Peer:
        return Peer("RADDRAFT", "127.0.0.1", self.listener.port)

    def files(self) -> list[Path]:
        """Every file in the spool, unfinished ones included."""
        return [path for path in self.folder.rglob("*") if path.is_file()]

    def nothing_left(self) -> bool:
        """Whether there is neither a file nor a row."""
        return not self.files() and not self.ledger.objects() and not self.ledger.receipts()


StartNode = Callable[..., Node]


@pytest.fixture
def start_node(tmp_path: Path) -> Iterator[StartNode]:
    """Start a listener; `spool` and `ledger` replace the ones it writes to, the rest are settings."""
    folder = tmp_path / "spool"
    real_spool, real_ledger = PosixSpool(folder), SqliteLedger(tmp_path / "ledger.sqlite")
    started: list[Listener] = []

    def start(
        *,
        spool: Spool | None = None,
        ledger: Ledger | None = None,
        refused: Callable[[RefusedCall], None] = lambda call: None,
        **settings: Any,
    ) -> Node:
        settings["peers"] = tuple(AllowedPeer(*peer) for peer in settings.get("peers", ()))
        chosen = ListenerSettings(**{"port": 0, "drain_s": 1.0, **settings})
        listener = Listener(chosen, spool or real_spool, ledger or real_ledger, refused=refused)
        listener.start()
        started.append(listener)
        return Node(listener, folder, real_spool, real_ledger)

    yield start
    for listener in started:
        listener.stop()


@pytest.fixture
def node(start_node: StartNode) -> Node:
    """A listener with the default settings."""
    return start_node()
