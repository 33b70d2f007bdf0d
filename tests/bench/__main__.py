"""The benchmarks of the whole service in one command: ``python -m tests.bench``.

Durable receive beside DCMTK's storescp, then seconds per study by stage and peak memory by process. Each part has
options of its own: ``python -m tests.bench.cstore_bench --help``, ``python -m tests.bench.service_bench --help``.
"""

from __future__ import annotations

import sys

from tests.bench import cstore_bench, service_bench


def main() -> int:
    """Run both with their defaults."""
    if len(sys.argv) > 1:
        print(__doc__)
        return 2
    return cstore_bench.main() or service_bench.main()


if __name__ == "__main__":
    raise SystemExit(main())
