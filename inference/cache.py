"""Keys and values of everything in flight: rows of buffers that are allocated once.

Every layer has two buffers (rows, kv heads, capacity, head size) that are past and present at once
(GroupQueryAttention with shared buffers): a step writes the new keys in place. What lies behind a row's `length` is
stale and harmless: the next tokens overwrite it, and the attention mask hides it.

The rows of one decode step must lie side by side. They are moved together when who takes part changes, so that no idle
row computes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from inference.device_memory import DeviceMemory


@dataclass(slots=True, eq=False)
class CacheRow:
    """A place for one sequence of tokens.

    Attributes
    ----------
    place
        Where it lies now; changes when rows are moved together.
    length
        Positions that count.
    """

    place: int
    length: int = 0


class CachePool:
    """The rows; used by the engine thread only.

    Parameters
    ----------
    reserve
        Free rows that only somebody with priority may take.
    make_room
        Called when no row is free; frees one that is only kept for later and says whether it did.
    """

    def __init__(self, memory: DeviceMemory, *, reserve: int = 0) -> None:
        self._memory = memory
        self._reserve = reserve
        self._rows: list[CacheRow | None] = [None] * memory.rows
        self.make_room: Callable[[], bool] = lambda: False

    @property
    def capacity(self) -> int:
        """Positions of a row."""
        return self._memory.capacity

    @property
    def free(self) -> int:
        """Rows nobody holds."""
        return self._rows.count(None)

    def take(self, *, first: bool = False) -> CacheRow | None:
        """An empty row, or None where there is none now.

        Parameters
        ----------
        first
            Whether the reserve may be used.
        """
        needed = 1 if first else 1 + self._reserve
        while self.free < needed:
            if not self.make_room():
                return None
        place = self._rows.index(None)
        self._rows[place] = row = CacheRow(place)
        return row

    def fork(self, source: CacheRow, length: int, *, first: bool = False) -> CacheRow | None:
        """Another row with the first `length` positions of `source`, or None where there is none now."""
        row = self.take(first=first)
        if row is not None:
            self._memory.copy(source.place, row.place, length)
            row.length = length
        return row

    def release(self, row: CacheRow) -> None:
        """Give a row back."""
        self._rows[row.place] = None

    def side_by_side(self, rows: Sequence[CacheRow]) -> list[CacheRow]:
        """Move the given rows to the first places; returns them in the order of their places."""
        count = len(rows)
        wanted = set(rows)
        strays = [row for row in rows if row.place >= count]
        holes = [place for place in range(count) if self._rows[place] not in wanted]
        for row, hole in zip(strays, holes, strict=True):
            self._move(row, hole)
        return sorted(rows, key=lambda row: row.place)

    def _move(self, row: CacheRow, place: int) -> None:
        left, other = row.place, self._rows[place]
        if other is None:
            self._memory.copy(left, place, row.length)
        else:
            self._memory.exchange(left, place, max(row.length, other.length))
            other.place = left
        row.place = place
        self._rows[left], self._rows[place] = other, row
