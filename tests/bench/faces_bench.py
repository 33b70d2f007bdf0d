"""What building the results of one study costs: ``python -m tests.bench.faces_bench``.

A 2446 x 2010 radiograph with three findings. CPU seconds on one thread, medians of runs that take turns, and the peak
memory beyond what the process held before, in multiples of the image's stored pixels.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from reporting import ALL_KINDS, ALL_SR_CLASSES, build_faces, overlay_png, report_text
from tests.bench.memory import peak_rss_bytes
from tests.reporting import crafted

_ROWS, _COLUMNS = 2446, 2010
_RUNS = 7


def main() -> int:
    """Print the table."""
    header = crafted.radiograph()
    pixels = np.round(crafted.picture(_ROWS, _COLUMNS) * 4095).astype("<u2")
    header.Rows, header.Columns, header.PixelData = _ROWS, _COLUMNS, pixels.tobytes()
    known = crafted.sources(header)
    draft = crafted.draft([header])
    (reading,) = draft.readings
    displayed = known[reading.image.sop_instance_uid].displayed
    assert displayed is not None
    parts: dict[str, Callable[[], object]] = {
        "sr, pr, sc": lambda: build_faces(draft, known),
        "every DICOM object, PDF and ladder": lambda: build_faces(
            draft, known, kinds=ALL_KINDS, sr_classes=ALL_SR_CLASSES
        ),
        "overlay PNG": lambda: overlay_png(reading, displayed),
        "text": lambda: report_text(draft),
    }
    # proc(5): 5 makes the peak start anew from what is resident now.
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_rss_bytes(os.getpid())
    taken: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(_RUNS):
        for name, part in parts.items():
            start = time.process_time()
            part()
            taken[name].append(time.process_time() - start)
    for name, seconds in taken.items():
        print(f"{name}: {median(seconds):.3f} s CPU (median of {_RUNS}, best {min(seconds):.3f})")
    grown = peak_rss_bytes(os.getpid()) - before
    print(f"peak memory: {grown / pixels.nbytes:.1f} times the image's {pixels.nbytes / 2**20:.1f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
