"""Run one function in a separate short-lived process that cannot take the service down with it.

The child is forked by `imaging.fork_server`, a process that is started afresh with `subprocess` and has one thread, so
it is safe to call from any thread of a worker; it leads a process group of its own, limits its own memory and processor
time, and ends with this process. Request and reply travel through one anonymous memory file, so a reply of any size can
never block.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from threading import Lock
from typing import Any

from clinical import ErrorKind, Permanent, Quarantine, RadDraftError, Transient
from imaging.limits import LENGTH_BYTES, REQUEST_BYTES, DecodeLimits

_KINDS: dict[str, type[RadDraftError]] = {
    ErrorKind.TRANSIENT.value: Transient,
    ErrorKind.PERMANENT.value: Permanent,
    ErrorKind.QUARANTINE.value: Quarantine,
}
# Signals that come from outside (a stopping service, the kernel's out-of-memory killer), not from the image.
_OUTSIDE_SIGNALS = frozenset({signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGHUP})
_SERVER_MODULE = "imaging.fork_server"
_START_S = 60.0
_READY_BYTES = 16
# Beyond the limit, for the server to end the child and say so; later it is taken for lost.
_GRACE_S = 10.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What a limited function returned.

    Attributes
    ----------
    facts
        JSON object.
    payload
        Raw bytes beside it.
    """

    facts: dict[str, Any]
    payload: memoryview


def run_limited(function: str, arguments: dict[str, Any], limits: DecodeLimits) -> Reply:
    """Call ``module:function`` in a limited child process.

    Parameters
    ----------
    function
        ``"package.module:name"`` of a function ``(arguments: dict) -> (facts: dict, payload: bytes-like)``.
    arguments
        JSON-serialisable arguments.
    limits
        Time and memory the child may take.

    Raises
    ------
    Quarantine
        ``decode-timeout``, ``decode-memory``, ``decode-crashed``, ``decode-failed``, or what the function raised.
    Permanent
        What the function raised.
    Transient
        ``decode-interrupted`` where somebody else ended the child; ``decode-unavailable`` where it could not start.
    """
    request = {
        "function": function,
        "arguments": arguments,
        "memory_bytes": limits.memory_bytes,
        "cpu_s": limits.timeout_s,
        "path": [os.path.abspath(entry) for entry in sys.path if entry],
    }
    reply_fd = os.memfd_create("raddraft-decode")
    try:
        os.write(reply_fd, json.dumps(request).encode("utf-8"))
        return _reply(_servers.current().run(reply_fd, limits.timeout_s), reply_fd)
    except OSError as error:
        raise Transient(
            "decode-unavailable", f"no decoding process could be run: {type(error).__name__}"
        ) from None
    finally:
        os.close(reply_fd)


class _Server:
    """This process's end of one fork server."""

    def __init__(self) -> None:
        self.owner_pid = os.getpid()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", _SERVER_MODULE, str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
            env=_environment(),
            cwd="/",
            start_new_session=True,
        )
        theirs.close()
        self._control.settimeout(_START_S)
        try:
            started = self._control.recv(_READY_BYTES) == b"ready"
        except TimeoutError:
            started = False
        if not started:
            self.close()
            raise OSError("the decoding process did not start")

    @property
    def alive(self) -> bool:
        """Whether it still takes requests of this process; one that this process was forked with is another's."""
        return self.owner_pid == os.getpid() and self._process.poll() is None

    def run(self, reply_fd: int, timeout_s: float) -> int | None:
        """Have a child serve the request in `reply_fd`.

        Returns
        -------
        int or None
            Its return code; None where it had to be ended for lack of time.

        Raises
        ------
        OSError
            Where no child could be forked.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            with theirs:
                message = json.dumps({"timeout_s": timeout_s}).encode("ascii")
                socket.send_fds(self._control, [message], [theirs.fileno(), reply_fd])
            ours.settimeout(timeout_s + _GRACE_S)
            try:
                ending = ours.recv(REQUEST_BYTES)
            except TimeoutError:
                self.close()
                return None
        if not ending:
            # The server was ended from outside, and its children with it: not the image's fault.
            return -signal.SIGKILL
        return_code: int | None = json.loads(ending)["return_code"]
        return return_code

    def close(self) -> None:
        """End the server and its children."""
        self._control.close()
        if self.owner_pid == os.getpid():
            self._process.kill()
            self._process.wait()


class _Servers:
    """The fork server of this process: one, started when the first image is to be decoded."""

    def __init__(self) -> None:
        self._server: _Server | None = None
        self._starting = Lock()
        # A process that was forked from this one has its own.
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._server, self._starting = None, Lock()

    def current(self) -> _Server:
        """The server, a new one where the last has ended.

        Raises
        ------
        OSError
            Where it cannot be started.
        """
        with self._starting:
            if self._server is None or not self._server.alive:
                if self._server is not None:
                    self._server.close()
                self._server = _Server()
            return self._server


_servers = _Servers()


def _environment() -> dict[str, str]:
    """Only what decoding needs: no setting, token or address of the service reaches the child."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return kept | {
        "PYTHONPATH": os.pathsep.join(os.path.abspath(entry) for entry in sys.path if entry),
        "LC_ALL": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


def _reply(return_code: int | None, reply_fd: int) -> Reply:
    if return_code is None or return_code == -signal.SIGXCPU:
        raise Quarantine("decode-timeout", "decoding the image took longer than the limit")
    if return_code < 0 and -return_code in _OUTSIDE_SIGNALS:
        raise Transient("decode-interrupted", f"the decoding process was ended by signal {-return_code}")
    if return_code < 0:
        raise Quarantine("decode-crashed", f"the image crashed its decoder: signal {-return_code}")
    if return_code > 0:
        raise Quarantine("decode-crashed", f"the image ended its decoder: exit status {return_code}")
    try:
        document, payload = _read_reply(reply_fd)
        if "error" not in document:
            return Reply(document["facts"], payload)
        error = document["error"]
        raised = _KINDS[error["kind"]](error["code"], error["message"], tag=error["tag"])
    except (ValueError, KeyError, TypeError):
        raise Quarantine("decode-crashed", "the image made its decoder answer nonsense") from None
    raise raised


def _read_reply(reply_fd: int) -> tuple[dict[str, Any], memoryview]:
    with os.fdopen(os.dup(reply_fd), "rb") as file:
        file.seek(0)
        content = memoryview(file.read())
    start = LENGTH_BYTES + int.from_bytes(content[:LENGTH_BYTES], "big")
    return json.loads(bytes(content[LENGTH_BYTES:start])), content[start:]
