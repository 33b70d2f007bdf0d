"""Images the decoder has read: every question about one continues from its prefix.

A prefix stays in its row after its last question, until somebody needs the row: the next question about the same image
then costs no encoding. The one that was not used for longest goes first.
"""

from __future__ import annotations

from collections import OrderedDict
from types import TracebackType

from inference.anyres import FloatArray
from inference.cache import CachePool, CacheRow
from inference.requests import Priority


class ImagePrefix:
    """An image the decoder has read; a context manager that says when its questions are answered.

    Attributes
    ----------
    length
        Positions of the image's part of the prompt.
    pooled
        Mean vision features (width,) of the whole image's tokens.
    """

    def __init__(self, pool: CachePool, row: CacheRow, pooled: FloatArray) -> None:
        self.length = row.length
        self.pooled = pooled
        self.users = 1
        self._pool = pool
        self._row = row
        self._lent = False

    def __enter__(self) -> ImagePrefix:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.users -= 1

    def open(self, priority: Priority) -> CacheRow | None:
        """A row that holds the image, to write a question behind; None where there is none now.

        The image's own row if nobody writes there, which costs nothing; a copy in a free row otherwise.
        """
        if self._lent:
            return self._pool.fork(self._row, self.length, first=priority is Priority.STAT)
        self._lent = True
        self._row.length = self.length
        return self._row

    def close(self, row: CacheRow) -> None:
        """Give a row back that `open` gave."""
        if row is self._row:
            self._lent = False
        else:
            self._pool.release(row)

    def drop(self) -> None:
        """Give the image's own row back."""
        self._pool.release(self._row)


class PrefixShelf:
    """Prefixes by the digest of what was encoded; used by the engine thread only."""

    def __init__(self, pool: CachePool) -> None:
        self._pool = pool
        self._kept: OrderedDict[bytes, ImagePrefix] = OrderedDict()
        pool.make_room = self._drop_oldest

    def find(self, digest: bytes) -> ImagePrefix | None:
        """The prefix of an image, for one user more."""
        prefix = self._kept.get(digest)
        if prefix is not None:
            self._kept.move_to_end(digest)
            prefix.users += 1
        return prefix

    def keep(self, digest: bytes, prefix: ImagePrefix) -> ImagePrefix:
        """Put a prefix on the shelf; where another job was faster, its prefix is used and this one dropped."""
        known = self.find(digest)
        if known is not None:
            prefix.drop()
            return known
        self._kept[digest] = prefix
        return prefix

    def _drop_oldest(self) -> bool:
        for digest, prefix in self._kept.items():
            if prefix.users == 0:
                del self._kept[digest]
                prefix.drop()
                return True
        return False
