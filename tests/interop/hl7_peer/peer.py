"""Another maker's HL7 v2 server and client."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.promises.installation import free_port

FOLDER = Path(__file__).parent


class Hl7Peer:
    """Where it listens, and what its own parser made of each message.

    Attributes
    ----------
    received
        One entry a message, in the order of their arrival.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.received: list[dict[str, Any]] = []
        self._arrived = threading.Condition()

    def note(self, line: str) -> None:
        with self._arrived:
            self.received.append(json.loads(line))
            self._arrived.notify_all()

    def wait_for(self, count: int, timeout_s: float = 60.0) -> list[dict[str, Any]]:
        """What arrived, once there are `count` messages."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.received) >= count, timeout_s)
            return list(self.received)


@contextmanager
def hl7_peer(node: Path, codes: str = "AA", tls: Sequence[Path] = ()) -> Iterator[Hl7Peer]:
    """node-hl7-server on a free loopback port, giving `codes` in turn; with `tls` (key, cert, ca) by mutual TLS."""
    port = free_port()
    command = [str(node), str(FOLDER / "server.mjs"), str(port), codes, *map(str, tls)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    output = process.stdout
    peer = Hl7Peer(port)
    try:
        assert json.loads(output.readline()) == {"listens": port}
        reader = threading.Thread(target=lambda: [peer.note(line) for line in output], daemon=True)
        reader.start()
        yield peer
    finally:
        process.stdin.close()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join(5)
        output.close()


def sent_by_client(node: Path, port: int, messages: Sequence[bytes]) -> list[dict[str, str]]:
    """What node-hl7-client made of the answer to each message it sent there, over one connection."""
    lines = "".join(f"{json.dumps(message.decode('utf-8'))}\n" for message in messages)
    done = subprocess.run(
        [str(node), str(FOLDER / "client.mjs"), str(port)],
        input=lines,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]
