"""The spool: where the bytes of acknowledged objects lie until they are purged."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from clinical import Permanent, Transient

_TEMPORARY_PREFIX = ".part-"
_IDENTITY_FILE = "spool-identity"
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class SpoolEntry:
    """One stored file: its key, the SHA-256 of its bytes (hexadecimal) and its size."""

    key: str
    file_sha256: str
    size_bytes: int


class Spool(Protocol):
    """What the rest of RadDraft asks of a spool."""

    def put(self, content: bytes) -> SpoolEntry:
        """Store `content` durably under a new key."""
        ...

    def open(self, key: str) -> BinaryIO:
        """The file's bytes."""
        ...

    def path(self, key: str) -> Path:
        """Where the file lies, for readers that need a path."""
        ...

    def verify(self, key: str, file_sha256: str) -> bool:
        """Whether the file is there and has these bytes."""
        ...

    def delete(self, key: str) -> None:
        """Remove the file; nothing happens if it is gone already."""
        ...

    def keys(self) -> Iterator[str]:
        """Keys of every complete file."""
        ...

    def identity(self) -> str:
        """What tells this spool from any other."""
        ...


class PosixSpool:
    """A spool in a folder of a local or shared POSIX file system.

    A file is written under a temporary name, flushed to disk, renamed, and its folder is flushed too: when `put`
    returns, the file survives a power cut. Keys are drawn at random; nothing a peer sends ends up in a file name.

    Parameters
    ----------
    folder
        Made with mode 0700 if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def put(self, content: bytes) -> SpoolEntry:
        """Store `content` durably under a new key.

        Raises
        ------
        Transient
            ``spool-full`` or ``spool-failed``; nothing is left behind.
        """
        name = secrets.token_hex(16)
        shard = self._shard(name[:2])
        temporary = shard / f"{_TEMPORARY_PREFIX}{name}"
        final = shard / f"{name}.dcm"
        try:
            _write_durably(temporary, content)
            os.rename(temporary, final)
            _flush_folder(shard)
        except OSError as error:
            for path in (temporary, final):
                path.unlink(missing_ok=True)
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            raise Transient(
                "spool-full" if full else "spool-failed",
                f"storing a received object failed: {os.strerror(error.errno or 0)}; check the spool's disk",
            ) from error
        return SpoolEntry(f"{shard.name}/{final.name}", hashlib.sha256(content).hexdigest(), len(content))

    def _shard(self, name: str) -> Path:
        shard = self._folder / name
        if not shard.is_dir():
            try:
                shard.mkdir(mode=0o700, exist_ok=True)
                # The new folder's own name must survive a power cut too.
                _flush_folder(self._folder)
            except OSError as error:
                raise Transient(
                    "spool-failed", "making a folder in the spool failed; check its disk"
                ) from error
        return shard

    def open(self, key: str) -> BinaryIO:
        """The file's bytes.

        Raises
        ------
        Permanent
            ``spool-file-missing`` if there is no such file.
        """
        try:
            return open(self.path(key), "rb")
        except FileNotFoundError as error:
            raise Permanent(
                "spool-file-missing", "a file the account book names is not in the spool"
            ) from error

    def path(self, key: str) -> Path:
        """Where the file with this key lies."""
        return self._folder / key

    def verify(self, key: str, file_sha256: str) -> bool:
        """Whether the file is there and has these bytes."""
        digest = hashlib.sha256()
        try:
            with open(self.path(key), "rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    digest.update(chunk)
        except FileNotFoundError:
            return False
        return digest.hexdigest() == file_sha256

    def delete(self, key: str) -> None:
        """Remove the file; nothing happens if it is gone already."""
        self.path(key).unlink(missing_ok=True)

    def keys(self) -> Iterator[str]:
        """Keys of every complete file."""
        for shard in self._folder.iterdir():
            if shard.is_dir():
                for entry in os.scandir(shard):
                    if not entry.name.startswith(_TEMPORARY_PREFIX):
                        yield f"{shard.name}/{entry.name}"

    def identity(self) -> str:
        """Random identity, drawn once and kept in a file of the spool."""
        path = self._folder / _IDENTITY_FILE
        try:
            _write_durably(path, secrets.token_hex(16).encode("ascii"))
            _flush_folder(self._folder)
        except FileExistsError:
            pass  # drawn by an earlier start
        return path.read_text(encoding="ascii")

    def sweep_unfinished(self, older_than_s: float) -> int:
        """Remove temporary files a killed writer left behind; return how many."""
        removed = 0
        limit = time.time() - older_than_s
        for path in self._folder.glob(f"*/{_TEMPORARY_PREFIX}*"):
            if path.stat().st_mtime < limit:
                path.unlink(missing_ok=True)
                removed += 1
        return removed


def _write_durably(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
