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
from pydicom import Dataset

from clinical import Draft
from imaging import DisplayedImage, display, display_facts
from reporting import (
    ALL_KINDS,
    ALL_SR_CLASSES,
    SourceImage,
    build_faces,
    overlay_png,
    radiograph_of,
    report_pdf,
)
from tests.bench.memory import peak_rss_bytes
from tests.reporting import crafted

ROWS, COLUMNS = 2446, 2010
_LARGE_BLOCK_BYTES = 1 << 20


def large_study(rows: int = ROWS, columns: int = COLUMNS) -> tuple[Draft, Dataset, DisplayedImage]:
    """A Draft of one radiograph, its header without pixels, and the radiograph as decoded."""
    header = crafted.radiograph()
    stored = np.round(crafted.picture(rows, columns) * 4095).astype("<u2")
    header.Rows, header.Columns = rows, columns
    del header.PixelData
    return crafted.draft([header]), header, display(stored, display_facts(header))


def sources_of(header: Dataset, displayed: DisplayedImage) -> dict[str, SourceImage]:
    """What faces are made of."""
    return {str(header.SOPInstanceUID): SourceImage(header, radiograph_of(displayed))}


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
    source = known[reading.image.sop_instance_uid]
    return {
        "pdf": lambda: report_pdf(draft, known),
        "overlay": lambda: overlay_png(reading, source),
        "objects": lambda: build_faces(draft, known, kinds=ALL_KINDS, sr_classes=ALL_SR_CLASSES),
    }


def main() -> None:
    """Print the peaks."""
    # What is loaded once and kept for all studies is no cost of one study.
    draft, header, displayed = large_study(300, 260)
    for step in _steps(draft, sources_of(header, displayed)).values():
        step()
    draft, header, displayed = large_study()
    stored_bytes = displayed.rows * displayed.columns * 2
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    # proc(5): 5 makes the peak start anew from what is resident now.
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_rss_bytes(os.getpid())
    known = sources_of(header, displayed)
    # Whoever makes faces keeps the radiograph alone.
    del displayed
    peaks, held = {}, []
    for name, step in _steps(draft, known).items():
        held.append(step())
        peaks[name] = (peak_rss_bytes(os.getpid()) - before) / stored_bytes
    json.dump(peaks, sys.stdout)


if __name__ == "__main__":
    main()
