"""Writing one file of the spool so that it is there whole and for good, or not at all."""

from __future__ import annotations

import errno
import mmap
import os
from dataclasses import dataclass

from clinical import Transient
from dicom_node.digests import DigestAlgorithm, FileHash

# Names of files that are not complete begin so.
TEMPORARY_PREFIX = ".part-"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
# From here on the disk is set to work while more arrives, so that the flush at the end finds little left to do.
_WRITE_BACK_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class SpoolEntry:
    """One stored file: its key, the digest of its bytes (see `dicom_node.digests`) and its size."""

    key: str
    digest: str
    size_bytes: int


class PosixSpoolWriter:
    """A new file under a temporary name; `complete` flushes it, renames it and flushes its folder.

    Parameters
    ----------
    shard
        Path of the folder the file will lie in.
    name
        Its name there, without extension; nobody else's.
    algorithm
        By which its digest is made.

    Raises
    ------
    Transient
        ``spool-full`` or ``spool-failed``.
    """

    def __init__(self, shard: str, name: str, algorithm: DigestAlgorithm) -> None:
        self._shard = shard
        self._temporary, self._final = f"{shard}/{TEMPORARY_PREFIX}{name}", f"{shard}/{name}.dcm"
        self._hash = FileHash(algorithm)
        self._size_bytes = self._written_back_bytes = 0
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._descriptor = os.open(self._temporary, flags, 0o600)
        except OSError as error:
            raise storing_failed(error) from error

    def write(self, piece: bytes | memoryview) -> None:
        """Append bytes.

        Raises
        ------
        Transient
            ``spool-full`` or ``spool-failed``; then nothing is left behind.
        """
        view = memoryview(piece)
        self._hash.update(view)
        self._size_bytes += view.nbytes
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
            if self._size_bytes - self._written_back_bytes >= _WRITE_BACK_BYTES:
                self._start_write_back()
        except OSError as error:
            self.discard()
            raise storing_failed(error) from error

    def _start_write_back(self) -> None:
        done, self._written_back_bytes = self._written_back_bytes, self._size_bytes
        # Linux starts writing dirty pages of the range and does not wait for them.
        os.posix_fadvise(self._descriptor, done, self._size_bytes - done, os.POSIX_FADV_DONTNEED)

    def digest(self) -> str:
        """Digest of the bytes so far."""
        return self._hash.digest()

    def content(self, start: int = 0) -> memoryview:
        """The bytes so far from `start` on, mapped from the file: the process holds no copy."""
        if self._size_bytes <= start:
            return memoryview(b"")
        # Unmapped with the last view of it, which may be an exception's that tells what is wrong with the bytes.
        return memoryview(mmap.mmap(self._descriptor, self._size_bytes, access=mmap.ACCESS_READ))[start:]

    def complete(self) -> SpoolEntry:
        """Flush the file, rename it and flush its folder: then it survives a power cut.

        Raises
        ------
        Transient
            ``spool-full`` or ``spool-failed``; nothing is left behind.
        """
        try:
            os.fsync(self._descriptor)
            os.rename(self._temporary, self._final)
            flush_folder(self._shard)
        except BaseException as error:
            self.discard()
            unlink_if_possible(self._final)
            if isinstance(error, OSError):
                raise storing_failed(error) from error
            raise
        self._close()
        key = "/".join(self._final.rsplit("/", 2)[1:])
        return SpoolEntry(key, self.digest(), self._size_bytes)

    def discard(self) -> None:
        """Leave nothing behind; nothing happens after `complete` or a failure."""
        if self._descriptor >= 0:
            self._close()
            unlink_if_possible(self._temporary)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        os.close(descriptor)


def flush_folder(folder: str | os.PathLike[str]) -> None:
    """Make names in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def unlink_if_possible(path: str | os.PathLike[str]) -> None:
    """Remove a file where the disk lets us; nothing happens if it is gone already."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError:
        # The disk itself fails; the failure that led here is the one to report, and a sweep comes later.
        return


def storing_failed(error: OSError) -> Transient:
    """What a failed system call means for the object under way."""
    code = "spool-full" if error.errno in _FULL else "spool-failed"
    reason = os.strerror(error.errno or 0)
    return Transient(code, f"storing a received object failed: {reason}; check the spool's disk")
