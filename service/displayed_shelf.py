"""Decoded images on disk, from the worker that read them to the one that builds their faces: decoded once, not twice.

A shelf is a cache and nothing more: what is not there, or not whole, is decoded again. It lies beside the spool with
the same rights, holds no more than it is told to, and what was taken for the last time is deleted.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from time import time

import numpy as np
import structlog

from imaging import DisplayedImage

_log = structlog.get_logger(__name__)
_SUFFIX = ".displayed"
_MOST_FACTS_BYTES = 1 << 16
# Faces are built minutes after the reading at the latest; what lies longer is waited for by nobody.
_LONGEST_S = 3600.0


class DisplayedShelf:
    """Displayed images by the digest of their file, in a folder.

    Parameters
    ----------
    folder
        Made at the first use.
    most_bytes
        Of all images together; the oldest go first. 0 keeps none.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder = folder
        self._most_bytes = most_bytes

    def put(self, digest: str, displayed: DisplayedImage) -> None:
        """Keep an image; one there is no room for is not kept."""
        if not digest or displayed.pixels.nbytes > self._most_bytes:
            return
        beside = self._folder / f"{digest}.{os.getpid()}.part"
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            self._make_room(displayed.pixels.nbytes)
            with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                content = np.ascontiguousarray(displayed.pixels).data
                file.write(_facts(displayed, content))
                file.write(content)
            os.replace(beside, self._path(digest))
        except OSError as error:
            # A full disk costs a second decoding, never a study.
            _log.warning("displayed_not_kept", error_type=type(error).__name__)
            with suppress(OSError):
                beside.unlink(missing_ok=True)

    def find(self, digest: str) -> DisplayedImage | None:
        """The image of a file, exactly as it was put; None where it is not there or not whole."""
        try:
            with self._path(digest).open("rb") as file:
                facts = json.loads(file.readline(_MOST_FACTS_BYTES))
                content = file.read()
            if hashlib.blake2b(content).hexdigest() != facts["blake2b"]:
                return None  # a crash of the machine left less than was written
            pixels = np.frombuffer(content, dtype=np.uint8).reshape(facts["shape"])
            linear = facts["linear_range"]
            return DisplayedImage(
                pixels, tuple(facts["steps"]), None if linear is None else (linear[0], linear[1])
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def drop(self, digests: Iterable[str]) -> None:
        """Delete images that nobody will ask for any more."""
        for digest in digests:
            with suppress(OSError):
                self._path(digest).unlink(missing_ok=True)

    def _path(self, digest: str) -> Path:
        return self._folder / f"{digest}{_SUFFIX}"

    def _make_room(self, wanted_bytes: int) -> None:
        held = []
        for path in self._folder.iterdir():
            with suppress(FileNotFoundError):  # taken by another process meanwhile
                status = path.stat()
                held.append((status.st_mtime, status.st_size, path))
        room, longest_ago = self._most_bytes - wanted_bytes, time() - _LONGEST_S
        for written_at, size, path in sorted(held, reverse=True):
            room -= size
            if room < 0 or written_at < longest_ago:
                path.unlink(missing_ok=True)


def _facts(displayed: DisplayedImage, content: memoryview) -> bytes:
    facts = {
        "shape": displayed.pixels.shape,
        "steps": displayed.steps,
        "linear_range": displayed.linear_range,
        "blake2b": hashlib.blake2b(content).hexdigest(),
    }
    return json.dumps(facts).encode("utf-8") + b"\n"
