"""What building the results of one study costs: ``python -m tests.bench.faces_bench``.

A 2446 x 2010 radiograph with three findings. CPU seconds on one thread, medians of runs that take turns, and the peak
memory beyond what the process held before, in multiples of the image's stored pixels (`tests.bench.faces_memory`).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from statistics import median

from reporting import ALL_KINDS, ALL_SR_CLASSES, SourceImage, build_faces, overlay_png, report_text
from tests.bench.faces_memory import large_study, measured, sources_of

_RUNS = 7


def main() -> int:
    """Print the table."""
    draft, header, displayed = large_study()
    (reading,) = draft.readings
    uid = reading.image.sop_instance_uid

    def fresh() -> dict[str, SourceImage]:
        """Sources as each study has its own; that the radiograph is fitted into pictures is a part of the cost."""
        return sources_of(header, displayed)

    def every_object(sources: dict[str, SourceImage]) -> object:
        return build_faces(draft, sources, kinds=ALL_KINDS, sr_classes=ALL_SR_CLASSES)

    def every_face() -> object:
        sources = fresh()
        return overlay_png(reading, sources[uid]), every_object(sources), report_text(draft)

    parts: dict[str, Callable[[], object]] = {
        "all faces of the study": every_face,
        "sr, pr, sc": lambda: build_faces(draft, fresh()),
        "every DICOM object, PDF and ladder": lambda: every_object(fresh()),
        "overlay PNG": lambda: overlay_png(reading, fresh()[uid]),
        "text": lambda: report_text(draft),
    }
    taken: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(_RUNS):
        for name, part in parts.items():
            start = time.process_time()
            part()
            taken[name].append(time.process_time() - start)
    for name, seconds in taken.items():
        print(f"{name}: {median(seconds):.3f} s CPU (median of {_RUNS}, best {min(seconds):.3f})")
    for name, peak in measured().items():
        print(f"{name}: peak memory {peak:.1f} times the image's stored pixels")
    return 0


if __name__ == "__main__":
    sys.exit(main())
