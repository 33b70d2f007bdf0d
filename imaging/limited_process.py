"""Run one function in a separate short-lived process that cannot take the service down with it.

The child is started afresh with `subprocess` rather than forked, so it is safe to call from any thread of a worker;
it leads a process group of its own, limits its own memory and processor time, and dies when its parent's thread
does. Request and reply travel through one anonymous memory file, so a reply of any size can never block.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

from clinical import ErrorKind, Permanent, Quarantine, RadDraftError, Transient
from imaging.limits import DecodeLimits

_KINDS: dict[str, type[RadDraftError]] = {
    ErrorKind.TRANSIENT.value: Transient,
    ErrorKind.PERMANENT.value: Permanent,
    ErrorKind.QUARANTINE.value: Quarantine,
}
# Signals that come from outside (a stopping service, the kernel's out-of-memory killer), not from the image.
_OUTSIDE_SIGNALS = frozenset({signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGHUP})
_CHILD_MODULE = "imaging.limited_child"
_LONGEST_PAUSE_S = 0.02
LENGTH_BYTES = 8


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
        "parent_pid": os.getpid(),
    }
    reply_fd = os.memfd_create("raddraft-decode")
    try:
        os.write(reply_fd, json.dumps(request).encode("utf-8"))
        return _reply(_run_child(reply_fd, limits), reply_fd)
    except OSError as error:
        raise Transient(
            "decode-unavailable", f"no decoding process could be run: {type(error).__name__}"
        ) from None
    finally:
        os.close(reply_fd)


def _run_child(reply_fd: int, limits: DecodeLimits) -> int | None:
    """Return code of the child; None where it had to be ended for lack of time."""
    deadline = time.monotonic() + limits.timeout_s
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", _CHILD_MODULE, str(reply_fd)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(reply_fd,),
        env=_environment(),
        cwd="/",
        start_new_session=True,
    )
    try:
        in_time = _ends_before(deadline, child.pid)
    finally:
        # Not reaped yet, so the group still carries the child's id and can be nobody else's.
        os.killpg(child.pid, signal.SIGKILL)
        return_code = child.wait()
    return return_code if in_time else None


def _ends_before(deadline: float, pid: int) -> bool:
    """Wait for a child without reaping it; False where it still runs at the deadline."""
    pause_s = 0.002
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)
    return True


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
