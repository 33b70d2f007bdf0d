"""Limits that hold across every listener process of a machine, and let go by themselves when a process dies.

A file has one byte per association that may be open. Holding an association is holding the kernel's lock on one of
these bytes: a killed process holds none. Beside them stands, for each peer with a rate limit, its token bucket.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

_BUCKET = struct.Struct("<dd")
_SECONDS_PER_MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class PeerLimits:
    """How much one peer may ask for; None: no limit of its own."""

    associations_max: int | None = None
    associations_per_minute: int | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """An association's places; give it back to `SharedLimits.leave`."""

    offsets: tuple[int, ...]


class SharedLimits:
    """Who holds how many associations, across processes.

    Parameters
    ----------
    path
        File that the processes share, on a local disk; None where there is one process only.
    associations_max
        Of all peers together.
    peers
        Limits of each peer, in an order that every process shares.
    """

    def __init__(self, path: Path | None, *, associations_max: int, peers: Sequence[PeerLimits] = ()) -> None:
        if path is None:
            self._descriptor = os.memfd_create("associations", os.MFD_CLOEXEC)
        else:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._peers = tuple(peers)
        self._all = range(associations_max)
        self._ranges: list[range] = []
        end = associations_max
        for peer in peers:
            self._ranges.append(range(end, end + (peer.associations_max or 0)))
            end += peer.associations_max or 0
        self._buckets_at = end
        # The kernel's locks do not tell the threads of one process apart.
        self._lock = Lock()
        self._held: set[int] = set()

    def close(self) -> None:
        """Let go of everything."""
        os.close(self._descriptor)

    def enter(self) -> Hold | None:
        """A place for one association; None where all are taken."""
        return self._taken(self._all)

    def enter_as(self, peer: int) -> Hold | None:
        """A place among those of one peer; None where all are taken."""
        if self._peers[peer].associations_max is None:
            return Hold(())
        return self._taken(self._ranges[peer])

    def leave(self, hold: Hold) -> None:
        """Give a place back."""
        with self._lock:
            for offset in hold.offsets:
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, offset)
                self._held.discard(offset)

    def may_call(self, peer: int) -> bool:
        """Whether a peer keeps to its rate with one more call, which is counted."""
        per_minute = self._peers[peer].associations_per_minute
        if per_minute is None:
            return True
        offset = self._buckets_at + peer * _BUCKET.size
        now_s = time.monotonic()
        with self._lock, self._file_locked(offset):
            encoded = os.pread(self._descriptor, _BUCKET.size, offset)
            tokens, at_s = _BUCKET.unpack(encoded) if len(encoded) == _BUCKET.size else (0.0, 0.0)
            if not 0 < at_s <= now_s:  # never written, or before this machine started
                tokens, at_s = float(per_minute), now_s
            tokens = min(float(per_minute), tokens + (now_s - at_s) * per_minute / _SECONDS_PER_MINUTE)
            may = bool(tokens >= 1.0)
            os.pwrite(self._descriptor, _BUCKET.pack(tokens - may, now_s), offset)
        return may

    def _taken(self, offsets: range) -> Hold | None:
        with self._lock:
            for offset in offsets:
                if offset in self._held:
                    continue
                try:
                    fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset)
                except OSError:
                    continue  # another process holds it
                self._held.add(offset)
                return Hold((offset,))
        return None

    @contextmanager
    def _file_locked(self, offset: int) -> Iterator[None]:
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX, 1, offset)
        try:
            yield
        finally:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, offset)
