"""Memory that building the faces of one study takes: ``python -m tests.bench.faces_memory``.

A 2446 x 2010 radiograph with three findings. Prints one JSON object: peak resident memory of each step beyond what the
process held before it, as multiples of the image's stored pixels, each step with the results of those before it held.
The C library is told to return large blocks when they are freed, so that what is resident is what is in use.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from clinical import Draft
from reporting import ALL_KINDS, ALL_SR_CLASSES, SourceImage, build_faces, overlay_png, report_pdf
from tests.bench.memory import peak_rss_bytes
from tests.reporting import crafted

ROWS, COLUMNS = 2446, 2010
_LARGE_BLOCK_BYTES = 1 << 20


def large_study(rows: int = ROWS, columns: int = COLUMNS) -> tuple[Draft, dict[str, SourceImage], int]:
    """A Draft of one radiograph, its source, and the size of the stored pixels in bytes."""
    header = crafted.radiograph()
    pixels = np.round(crafted.picture(rows, columns) * 4095).astype("<u2")
    header.Rows, header.Columns, header.PixelData = rows, columns, pixels.tobytes()
    return crafted.draft([header]), crafted.sources(header), pixels.nbytes


def measured() -> dict[str, float]:
    """What a process of its own says (`main`)."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.faces_memory"],
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": str(_LARGE_BLOCK_BYTES)},
        cwd=Path(__file__).resolve().parents[2],
        stdout=subprocess.PIPE,
        check=True,
    )
    return dict(json.loads(done.stdout))


def _steps(draft: Draft, known: dict[str, SourceImage]) -> dict[str, Callable[[], object]]:
    """As the service makes them, in its order."""
    (reading,) = draft.readings
    displayed = known[reading.image.sop_instance_uid].displayed
    assert displayed is not None
    return {
        "pdf": lambda: report_pdf(draft, known),
        "overlay": lambda: overlay_png(reading, displayed),
        "objects": lambda: build_faces(draft, known, kinds=ALL_KINDS, sr_classes=ALL_SR_CLASSES),
    }


def main() -> None:
    """Print the peaks."""
    # What is loaded once and kept for all studies is no cost of one study.
    small, sources, _ = large_study(300, 260)
    for step in _steps(small, sources).values():
        step()
    draft, known, stored_bytes = large_study()
    steps = _steps(draft, known)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    # proc(5): 5 makes the peak start anew from what is resident now.
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_rss_bytes(os.getpid())
    peaks, held = {}, []
    for name, step in steps.items():
        held.append(step())
        peaks[name] = (peak_rss_bytes(os.getpid()) - before) / stored_bytes
    json.dump(peaks, sys.stdout)


if __name__ == "__main__":
    main()
