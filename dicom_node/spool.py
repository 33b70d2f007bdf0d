"""The spool: where the bytes of acknowledged objects lie until they are purged."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from clinical import Permanent, Transient

_TEMPORARY_PREFIX = ".part-"
_IDENTITY_FILE = "spool-identity"
_SHARDS = tuple(f"{number:02x}" for number in range(256))
_CHUNK_BYTES = 1 << 20
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True, slots=True)
class SpoolEntry:
    """One stored file: its key, the SHA-256 of its bytes (hexadecimal) and its size."""

    key: str
    file_sha256: str
    size_bytes: int


class Spool(Protocol):
    """What the rest of RadDraft asks of a spool. Keys are the spool's own; nobody else makes them up."""

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
    returns, the file survives a power cut. Keys are drawn at random, so nothing a peer sends ends up in a file name.

    Parameters
    ----------
    folder
        Made if it is not there, with mode 0700 like every folder in it; files have mode 0600.

    Raises
    ------
    Permanent
        ``spool-not-usable`` if the folder can be neither made nor used.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            _make_folders(folder)
        except OSError as error:
            raise Permanent(
                "spool-not-usable", f"the spool's folder cannot be used: {os.strerror(error.errno or 0)}"
            ) from error

    def put(self, content: bytes | Iterable[bytes]) -> SpoolEntry:
        """Store `content` durably under a new key.

        Raises
        ------
        Transient
            ``spool-full`` or ``spool-failed``; nothing is left behind.
        """
        name = secrets.token_hex(16)
        shard = self._folder / name[:2]
        temporary = shard / f"{_TEMPORARY_PREFIX}{name}"
        final = shard / f"{name}.dcm"
        pieces = (content,) if isinstance(content, bytes) else content
        try:
            file_sha256, size_bytes = _write_durably(temporary, pieces)
            os.rename(temporary, final)
            _flush_folder(shard)
        except BaseException as error:
            for path in (temporary, final):
                _unlink_if_possible(path)
            if isinstance(error, OSError):
                raise _storing_failed(error) from error
            raise
        return SpoolEntry(f"{shard.name}/{final.name}", file_sha256, size_bytes)

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

    def verify(self, key: str, file_sha256: str) -> bool:
        """Whether the file is there and has these bytes."""
        digest = hashlib.sha256()
        try:
            with self.open(key) as file:
                while chunk := file.read(_CHUNK_BYTES):
                    digest.update(chunk)
        except Permanent:
            return False
        return digest.hexdigest() == file_sha256

    def delete(self, key: str) -> None:
        """Remove the file; nothing happens if it is gone already."""
        self.path(key).unlink(missing_ok=True)

    def keys(self) -> Iterator[str]:
        """Keys of every complete file, whoever put it there."""
        for shard in _SHARDS:
            try:
                entries = os.scandir(self._folder / shard)
            except FileNotFoundError:
                continue
            with entries:
                for entry in entries:
                    if not entry.name.startswith(_TEMPORARY_PREFIX):
                        yield f"{shard}/{entry.name}"

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
        temporary = self._folder / f"{_TEMPORARY_PREFIX}{drawn}"
        try:
            _write_durably(temporary, (drawn.encode("ascii"),))
            # A link, unlike a rename, never replaces: of several processes that start at once one identity stands.
            os.link(temporary, path)
        except FileExistsError:
            pass
        except OSError as error:
            raise _storing_failed(error) from error
        finally:
            _unlink_if_possible(temporary)
        _flush_folder(self._folder)

    def sweep_unfinished(self, older_than_s: float) -> int:
        """Remove temporary files a killed writer left behind; return how many."""
        removed = 0
        limit = time.time() - older_than_s
        for pattern in (f"{_TEMPORARY_PREFIX}*", f"*/{_TEMPORARY_PREFIX}*"):
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
    _flush_folder(folder)
    _flush_folder(folder.parent)


def _write_durably(path: Path, pieces: Iterable[bytes]) -> tuple[str, int]:
    """Write a new file and flush it to disk; its SHA-256 (hexadecimal) and size in bytes."""
    digest = hashlib.sha256()
    size_bytes = 0
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        for piece in pieces:
            view = memoryview(piece)
            digest.update(view)
            size_bytes += view.nbytes
            while view:
                view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return digest.hexdigest(), size_bytes


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unlink_if_possible(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        # The disk itself fails; the failure that led here is the one to report, and a sweep comes later.
        return


def _storing_failed(error: OSError) -> Transient:
    code = "spool-full" if error.errno in _FULL else "spool-failed"
    reason = os.strerror(error.errno or 0)
    return Transient(code, f"storing a received object failed: {reason}; check the spool's disk")
