"""A reading worker takes what the guide says: weights, cache, an image for each study in flight, and little else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_PROGRAM = """
import dataclasses, json
from tests.bench.worker_memory import measure
found = measure("embedded", studies=4, in_flight=2, size_px=1536, threads=1)
print(json.dumps(dataclasses.asdict(found) | {"rest": found.rest}))
"""


def test_a_worker_stays_within_weights_cache_and_two_images_plus_what_a_run_needs() -> None:
    # A process of its own: others' memory would count as well.
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], cwd=_ROOT, capture_output=True, text=True, check=True, timeout=300
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["images"] == 2 * 1536**2
    assert found["cache"] > 0 and found["weights"] > 0
    assert found["rest"] < 300 * 2**20, found
