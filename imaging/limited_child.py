"""What a fork of `imaging.fork_server` does: limit itself, call one function, reply."""

from __future__ import annotations

import ctypes
import importlib
import json
import math
import os
import resource
import signal
import sys
from typing import Any

from clinical import Quarantine, RadDraftError
from imaging.limits import LENGTH_BYTES

_PR_SET_PDEATHSIG = 1


def serve(reply_fd: int) -> int:
    """Serve the request found in `reply_fd` and write the reply over it; exit status."""
    request = json.loads(os.pread(reply_fd, os.fstat(reply_fd).st_size, 0))
    _die_with_parent()
    sys.path[:] = request["path"]
    _limit(int(request["memory_bytes"]), float(request["cpu_s"]))
    document, payload = _call(request["function"], request["arguments"])
    encoded = json.dumps(document).encode("utf-8")
    os.ftruncate(reply_fd, 0)
    with os.fdopen(reply_fd, "wb") as reply:
        reply.seek(0)
        reply.write(len(encoded).to_bytes(LENGTH_BYTES, "big"))
        reply.write(encoded)
        reply.write(payload)
    return 0


def _die_with_parent() -> None:
    """Ask the kernel to end this process with the server that forked it (prctl(2))."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _limit(memory_bytes: int, cpu_s: float) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    seconds = math.ceil(cpu_s) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (memory_bytes, memory_bytes))


def _call(function: str, arguments: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    module, _, name = function.partition(":")
    try:
        facts, payload = getattr(importlib.import_module(module), name)(arguments)
    except RadDraftError as error:
        return _error(error), b""
    except MemoryError:
        return _error(Quarantine("decode-memory", "decoding the image needs more memory than the limit")), b""
    except Exception as error:
        # A library's own words may quote the header, so only the kind of its exception is passed on.
        return _error(
            Quarantine("decode-failed", f"the pixel data cannot be decoded: {type(error).__name__}")
        ), b""
    return {"facts": facts}, payload


def _error(error: RadDraftError) -> dict[str, Any]:
    return {
        "error": {
            "kind": error.kind.value,
            "code": error.code,
            "message": error.message,
            "tag": error.tag,
        }
    }
