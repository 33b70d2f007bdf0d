"""A process that has imported the decoders and forks one limited child for each image.

Starting Python and importing the decoders afresh takes longer than decoding most images. This process does it once,
holds one thread and no secret, and never looks at an image itself: each request is served by a fork of it that limits
itself (`imaging.limited_child`), leads a process group of its own and is gone when the request ends. It ends with
whoever started it, when the other end of its socket closes.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass

from imaging import limited_child
from imaging.limits import REQUEST_BYTES

PREPARED = "imaging.decode_child"
_STANDARD_FDS = 3


@dataclass(slots=True)
class _Child:
    """One request under way.

    Attributes
    ----------
    asker
        Where its end is told; closes when nobody waits for it any more.
    pidfd
        Readable when the child has ended (pidfd_open(2)).
    deadline
        Monotonic seconds.
    """

    pid: int
    pidfd: int
    asker: socket.socket
    deadline: float


class ForkServer:
    """Serves the requests that come through one socket, until it closes."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ)
        self._children: dict[int, _Child] = {}

    def serve(self) -> None:
        """Until the other end closes; then whatever still runs is ended."""
        while True:
            for key, _ in self._selector.select(self._patience_s()):
                if key.fileobj is self._control:
                    if not self._begin():
                        self._end_all()
                        return
                elif key.data in self._children:
                    child = self._children[key.data]
                    self._end(child, told=key.fileobj == child.pidfd, in_time=True)
            now = time.monotonic()
            for child in tuple(self._children.values()):
                if child.deadline <= now:
                    self._end(child, told=True, in_time=False)

    def _patience_s(self) -> float | None:
        deadlines = [child.deadline for child in self._children.values()]
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None

    def _begin(self) -> bool:
        """Take one request and fork; False where the other end has closed."""
        message, fds, _, _ = socket.recv_fds(self._control, REQUEST_BYTES, 2)
        if not message:
            return False
        asker_fd, reply_fd = fds
        asker = socket.socket(fileno=asker_fd)
        try:
            pid = os.fork()
        except OSError:
            # The asker sees its end close and takes it for a lost decoder.
            asker.close()
            os.close(reply_fd)
            return True
        if pid == 0:
            _be_child(reply_fd)
        os.close(reply_fd)
        deadline = time.monotonic() + float(json.loads(message)["timeout_s"])
        child = _Child(pid, os.pidfd_open(pid), asker, deadline)
        self._children[pid] = child
        self._selector.register(child.pidfd, selectors.EVENT_READ, pid)
        self._selector.register(asker, selectors.EVENT_READ, pid)
        return True

    def _end(self, child: _Child, *, told: bool, in_time: bool) -> None:
        """End a child and all it started, reap it, and tell the asker how it ended."""
        # Not reaped yet, so its id and its group's can be nobody else's.
        for kill in (os.killpg, os.kill):
            with suppress(ProcessLookupError):
                kill(child.pid, signal.SIGKILL)
        _, status = os.waitpid(child.pid, 0)
        if told:
            ending = {"return_code": os.waitstatus_to_exitcode(status) if in_time else None}
            with suppress(OSError):
                child.asker.send(json.dumps(ending).encode("ascii"))
        self._selector.unregister(child.pidfd)
        self._selector.unregister(child.asker)
        os.close(child.pidfd)
        child.asker.close()
        del self._children[child.pid]

    def _end_all(self) -> None:
        for child in tuple(self._children.values()):
            self._end(child, told=False, in_time=False)


def _be_child(reply_fd: int) -> None:
    """In the fork: keep nothing of the server but its code, serve the request, end."""
    status = 1
    try:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.dup2(reply_fd, _STANDARD_FDS)
        # The server's socket above all: a decoder that is taken over must not ask for decoders.
        os.closerange(_STANDARD_FDS + 1, os.sysconf("SC_OPEN_MAX"))
        status = limited_child.serve(_STANDARD_FDS)
    finally:
        os._exit(status)


def main(control_fd: int) -> None:
    """Import the decoders once, then serve."""
    importlib.import_module(PREPARED)
    # A terminal's interrupt is for the service; it closes the socket when it ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=control_fd) as control:
        control.send(b"ready")
        ForkServer(control).serve()


if __name__ == "__main__":
    main(int(sys.argv[1]))
