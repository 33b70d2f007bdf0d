"""Memory of a listener while it receives thousands of objects.

Run it from the repository's root::

    python -m tests.bench.listener_memory --objects 10000

Prints the resident set after every thousand. Each object is another one, so that spool and account book grow as they
do in a hospital; what grows with them in memory would show.
"""

from __future__ import annotations

import argparse
import secrets
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.promises.fuzz import wire
from tests.promises.fuzz.receiver import Receiver, receiver
from tests.promises.fuzz.write_corpus import header, pixels

_PER_ASSOCIATION = 50


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--objects", type=int, default=10_000, help="how many are sent (default 10000)")
    parser.add_argument("--bytes", type=int, default=20_000, help="pixel bytes of each (default 20000)")
    parser.add_argument("--associations", type=int, default=4, help="at once (default 4)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="listener-memory-") as folder, receiver(Path(folder)) as far:
        print(f"{'objects':>8}{'RSS MB':>8}{'peak MB':>9}")
        for sent, rss_bytes in received(
            far, arguments.objects, size_bytes=arguments.bytes, associations=arguments.associations
        ):
            if sent % 1000 == 0:
                print(f"{sent:>8}{rss_bytes / 1e6:>8.1f}{far.peak_rss_bytes() / 1e6:>9.1f}", flush=True)
        print(f"receipts {far.receipts()}, balanced {far.account().balanced}")
    return 0


def received(
    far: Receiver, objects: int, *, size_bytes: int, associations: int = 4
) -> Iterator[tuple[int, int]]:
    """Send so many different objects, 50 in an association; how many were sent, and the memory then."""

    def send(first: int) -> int:
        stores = []
        for number in range(first, first + _PER_ASSOCIATION):
            uid = f"2.25.5{number}"
            content = header(uid) + pixels(secrets.token_bytes(size_bytes))
            stores.append(wire.store(content, uid, message_id=number % 65535 + 1))
        return wire.say(far.port, [wire.request(), *stores, wire.RELEASE]).successes

    with ThreadPoolExecutor(associations) as pool:
        step = _PER_ASSOCIATION * associations
        for start in range(0, objects, step):
            acknowledged = sum(pool.map(send, range(start, start + step, _PER_ASSOCIATION)))
            if acknowledged != step:
                raise SystemExit(f"{acknowledged} of {step} objects were acknowledged")
            yield start + step, far.rss_bytes()


if __name__ == "__main__":
    raise SystemExit(main())
