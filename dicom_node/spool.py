"""The spool: where the bytes of acknowledged objects lie until they are purged."""

from __future__ import annotations

import os
import secrets
import stat
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from clinical import Permanent
from dicom_node.digests import DigestAlgorithm, FileHash, algorithm_of
from dicom_node.spool_writer import (
    TEMPORARY_PREFIX,
    PosixSpoolWriter,
    SpoolEntry,
    flush_folder,
    storing_failed,
    unlink_if_possible,
)

_IDENTITY_FILE = "spool-identity"
_SHARDS = tuple(f"{number:02x}" for number in range(256))
_CHUNK_BYTES = 1 << 20


class SpoolWriter(Protocol):
    """A file of the spool while its bytes arrive; nobody else sees it before `complete`."""

    def write(self, piece: bytes | memoryview) -> None:
        """Append bytes. Raises `Transient` if they cannot be stored."""
        ...

    def digest(self) -> str:
        """Digest of the bytes so far (see `dicom_node.digests`)."""
        ...

    def content(self, start: int = 0) -> memoryview:
        """The bytes so far from `start` on, without a copy in memory."""
        ...

    def complete(self) -> SpoolEntry:
        """Make the file durable and give it its key. Raises `Transient`; then nothing is left behind."""
        ...

    def discard(self) -> None:
        """Leave nothing behind; nothing happens after `complete` or a failure."""
        ...


class Spool(Protocol):
    """What the rest of RadDraft asks of a spool. Keys are the spool's own; nobody else makes them up."""

    def begin(self) -> SpoolWriter:
        """Start a new file whose bytes arrive piece by piece."""
        ...

    def free_bytes(self) -> int:
        """Space left for new files."""
        ...

    def put(self, content: bytes | Iterable[bytes]) -> SpoolEntry:
        """Store `content` (one piece, or several in their order) durably under a new key."""
        ...

    def open(self, key: str) -> BinaryIO:
        """The file's bytes."""
        ...

    def path(self, key: str) -> Path:
        """Where the file lies, for readers that need a path."""
        ...

    def holds(self, key: str) -> bool:
        """Whether the file is there, without looking at its bytes."""
        ...

    def verify(self, key: str, digest: str) -> bool:
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
    returns, the file survives a power cut. Keys are drawn at random, so nothing a peer sends ends up in a file name.

    Parameters
    ----------
    folder
        Made if it is not there, with mode 0700 like every folder in it; files have mode 0600.
    algorithm
        By which the digests of new files are made.

    Raises
    ------
    Permanent
        ``spool-not-usable`` if the folder can be neither made nor used.
    """

    def __init__(self, folder: Path, algorithm: DigestAlgorithm = DigestAlgorithm.SHA256) -> None:
        self._folder = folder
        self._algorithm = algorithm
        try:
            _make_folders(folder)
        except OSError as error:
            raise Permanent(
                "spool-not-usable", f"the spool's folder cannot be used: {os.strerror(error.errno or 0)}"
            ) from error

    def begin(self) -> SpoolWriter:
        """Start a new file whose bytes arrive piece by piece.

        Raises
        ------
        Transient
            ``spool-full`` or ``spool-failed``.
        """
        name = secrets.token_hex(16)
        return PosixSpoolWriter(f"{self._folder}/{name[:2]}", name, self._algorithm)

    def free_bytes(self) -> int:
        """Space left for new files on the spool's file system (for an unprivileged user)."""
        told = os.statvfs(self._folder)
        return told.f_bavail * told.f_frsize

    def put(self, content: bytes | Iterable[bytes]) -> SpoolEntry:
        """Store `content` durably under a new key.

        Raises
        ------
        Transient
            ``spool-full`` or ``spool-failed``; nothing is left behind.
        """
        writer = self.begin()
        try:
            for piece in (content,) if isinstance(content, bytes) else content:
                writer.write(piece)
            return writer.complete()
        finally:
            writer.discard()

    def open(self, key: str) -> BinaryIO:
        """The file's bytes.

        Raises
        ------
        Permanent
            ``spool-file-missing`` if there is no such file.
        """
        try:
            return os.fdopen(os.open(self.path(key), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")
        except FileNotFoundError as error:
            raise Permanent(
                "spool-file-missing", "a file the account book names is not in the spool"
            ) from error

    def path(self, key: str) -> Path:
        """Where the file with this key lies.

        Raises
        ------
        Permanent
            ``spool-key-malformed`` if `key` could name anything outside the spool.
        """
        shard, _, name = key.partition("/")
        if shard not in _SHARDS or not name or "/" in name or name in (".", ".."):
            raise Permanent("spool-key-malformed", "a spool key does not have the form this spool gives out")
        return self._folder / shard / name

    def holds(self, key: str) -> bool:
        """Whether the file is there, without looking at its bytes."""
        try:
            return stat.S_ISREG(os.stat(self.path(key), follow_symlinks=False).st_mode)
        except (FileNotFoundError, Permanent):
            return False

    def verify(self, key: str, digest: str) -> bool:
        """Whether the file is there and has these bytes."""
        found = FileHash(algorithm_of(digest))
        try:
            with self.open(key) as file:
                while chunk := file.read(_CHUNK_BYTES):
                    found.update(chunk)
        except Permanent:
            return False
        return found.digest() == digest

    def delete(self, key: str) -> None:
        """Remove the file; nothing happens if it is gone already."""
        self.path(key).unlink(missing_ok=True)

    def keys(self) -> Iterator[str]:
        """Keys of every complete file, whoever put it there."""
        for shard in _SHARDS:
            try:
                names = os.listdir(f"{self._folder}/{shard}")
            except FileNotFoundError:
                continue
            for name in names:
                if not name.startswith(TEMPORARY_PREFIX):
                    yield f"{shard}/{name}"

    def identity(self) -> str:
        """Random identity, drawn once and kept in a file of the spool."""
        path = self._folder / _IDENTITY_FILE
        try:
            return path.read_text(encoding="ascii")
        except FileNotFoundError:
            self._draw_identity(path)
            return path.read_text(encoding="ascii")

    def _draw_identity(self, path: Path) -> None:
        drawn = secrets.token_hex(16)
        temporary = self._folder / f"{TEMPORARY_PREFIX}{drawn}"
        try:
            _write_new(temporary, drawn.encode("ascii"))
            # A link, unlike a rename, never replaces: of several processes that start at once one identity stands.
            os.link(temporary, path)
        except FileExistsError:
            pass
        except OSError as error:
            raise storing_failed(error) from error
        finally:
            unlink_if_possible(temporary)
        flush_folder(self._folder)

    def sweep_unfinished(self, older_than_s: float) -> int:
        """Remove temporary files a killed writer left behind; return how many."""
        removed = 0
        limit = time.time() - older_than_s
        for pattern in (f"{TEMPORARY_PREFIX}*", f"*/{TEMPORARY_PREFIX}*"):
            for path in self._folder.glob(pattern):
                try:
                    if path.lstat().st_mtime < limit:
                        path.unlink()
                        removed += 1
                except FileNotFoundError:
                    continue  # its writer finished, or another process sweeps too
        return removed


def _make_folders(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for shard in _SHARDS:
        (folder / shard).mkdir(exist_ok=True, mode=0o700)
    # The new folders' own names must survive a power cut before the first file in them is acknowledged. Another
    # process may have made them an instant ago and not flushed yet, so every start flushes.
    flush_folder(folder)
    flush_folder(folder.parent)


def _write_new(path: Path, content: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
