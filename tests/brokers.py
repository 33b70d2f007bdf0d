"""A Redis of a test's own."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from tests.promises.installation import free_port


@contextmanager
def lone_broker(redis_server: Path, folder: Path) -> Iterator[int]:
    """Port of an empty broker on the loopback address, gone at the end."""
    port = free_port()
    command = [redis_server, "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", ""]
    process = subprocess.Popen(command)
    try:
        client = redis.Redis(port=port)
        for _ in range(100):
            try:
                client.ping()
                break
            except redis.ConnectionError:
                time.sleep(0.1)
        client.close()
        yield port
    finally:
        process.terminate()
        process.wait(20)
