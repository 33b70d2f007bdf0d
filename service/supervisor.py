"""`raddraft serve`: starts every role as a process, restarts what ends, and takes all down with itself."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import IO

import structlog

from clinical import Permanent

_log = structlog.get_logger(__name__)

_PR_SET_PDEATHSIG = 1
_LOOK_EVERY_S = 0.2
_BACKOFF_FIRST_S = 0.2
_BACKOFF_LONGEST_S = 15.0
# A role that lived this long had started well: its next restart is quick again.
_SETTLED_S = 30.0
_STOP_PATIENCE_S = 15.0


@dataclass(frozen=True, slots=True)
class RoleCommand:
    """How one role is started.

    Attributes
    ----------
    inherited
        File descriptors the child keeps, e.g. the listening socket.
    ended
        Called with the process id when the role's process has ended, before it is started again.
    reloads
        Whether it reads its configuration anew at SIGHUP.
    """

    name: str
    command: Sequence[str]
    environment: dict[str, str] = field(default_factory=dict)
    inherited: tuple[int, ...] = ()
    ended: Callable[[int], None] = lambda pid: None
    reloads: bool = False


@dataclass(slots=True)
class _Running:
    role: RoleCommand
    process: subprocess.Popen[bytes] | None = None
    started_s: float = 0.0
    start_again_s: float = 0.0
    backoff_s: float = _BACKOFF_FIRST_S


def lock_data_dir(data_dir: Path) -> IO[str]:
    """Hold `data_dir` for this process; the lock ends with it, however it ends.

    Raises
    ------
    Permanent
        ``data-dir-in-use`` if another `raddraft serve` holds it.
    """
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = open(data_dir / "serve.lock", "a+", encoding="ascii")  # noqa: SIM115 (held for the process's life)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        handle.close()
        raise Permanent(
            "data-dir-in-use",
            "another raddraft serve works in this data_dir; stop it or choose another",
            tag="data_dir",
        ) from error
    return handle


def bind_listening_socket(host: str, port: int, what: str) -> socket.socket:
    """A listening TCP socket that children inherit, so that a restarted role refuses nobody meanwhile.

    Raises
    ------
    Permanent
        ``address-in-use`` or ``address-not-usable`` in one line that names the setting.
    """
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        code = "address-in-use" if error.errno == 98 else "address-not-usable"
        raise Permanent(
            code, f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}", tag=what
        ) from error
    listening.listen(128)
    listening.set_inheritable(True)
    return listening


def _end_with_parent() -> None:
    # Runs in the child between fork and exec; the broker's binary cannot ask for this itself.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Supervisor:
    """Keeps roles running.

    Parameters
    ----------
    roles
        Started in this order, stopped in the reverse one.
    """

    def __init__(self, roles: Sequence[RoleCommand]) -> None:
        self._running = [_Running(role) for role in roles]

    def run(self, stop: Event) -> None:
        """Start everything, restart what ends, stop everything when `stop` is set."""
        try:
            while not stop.is_set():
                for running in self._running:
                    self._look_after(running)
                stop.wait(_LOOK_EVERY_S)
        finally:
            self._stop_all()

    def reload(self) -> None:
        """Let the roles that can read their configuration anew; a signal handler may call it."""
        for running in self._running:
            if running.role.reloads and running.process is not None and running.process.poll() is None:
                running.process.send_signal(signal.SIGHUP)

    def _look_after(self, running: _Running) -> None:
        now = time.monotonic()
        if running.process is not None:
            status = running.process.poll()
            if status is None:
                return
            running.role.ended(running.process.pid)
            if now - running.started_s > _SETTLED_S:
                running.backoff_s = _BACKOFF_FIRST_S
            running.start_again_s = now + running.backoff_s
            _log.warning("role_ended", role=running.role.name, status=status, restart_in_s=running.backoff_s)
            running.backoff_s = min(running.backoff_s * 2, _BACKOFF_LONGEST_S)
            running.process = None
        if now >= running.start_again_s:
            running.started_s = now
            running.process = _start(running.role)

    def _stop_all(self) -> None:
        for running in reversed(self._running):
            if running.process is not None and running.process.poll() is None:
                running.process.terminate()
                try:
                    running.process.wait(_STOP_PATIENCE_S)
                except subprocess.TimeoutExpired:
                    running.process.kill()
                    running.process.wait()


def _start(role: RoleCommand) -> subprocess.Popen[bytes]:
    _log.info("role_starts", role=role.name)
    return subprocess.Popen(
        list(role.command),
        env={**os.environ, **role.environment},
        pass_fds=role.inherited,
        stdin=subprocess.DEVNULL,
        preexec_fn=_end_with_parent,
    )


def role_command(*arguments: str) -> list[str]:
    """Command line that runs one `raddraft` command with this interpreter and this installation."""
    return [sys.executable, "-m", "raddraft", *arguments]
