"""The listener's memory does not grow with what it has received. `tests.bench.listener_memory` is the long form."""

from __future__ import annotations

from pathlib import Path

from tests.bench.listener_memory import received
from tests.promises.fuzz.receiver import receiver

# Over 10 000 objects it grows by some 3 MB in all; a leak of 20 kB for each object would be as much here.
_MORE_BYTES_MAX = 8 << 20


def test_the_memory_of_a_listener_is_flat_over_hundreds_of_objects(tmp_path: Path) -> None:
    with receiver(tmp_path) as far:
        rss_bytes = dict(received(far, 600, size_bytes=20_000))
        assert rss_bytes[600] < rss_bytes[200] + _MORE_BYTES_MAX
        assert far.receipts() == 600
