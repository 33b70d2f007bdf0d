"""Seconds of every stage of a study's walk, and the peak memory of every process, of a whole `raddraft serve`.

Run it from the repository's root::

    python -m tests.bench.service_bench --studies 20

Phantom studies are sent over C-STORE, each when the one before has come back (or all at once, which shows queues and
throughput), results go to DCMTK's storescp and to a folder. The first study is left out of the table: it pays for
imports and first uses.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import psutil
from sqlalchemy import select

from service.book.database import reading
from service.book.tables import DeliveryRow, DraftRow, StudyRow
from tests.bench.memory import peak_rss_bytes
from tests.promises.far_ends import dicom_destination, store_that_keeps_every_copy
from tests.promises.installation import Installation, installation
from training.phantoms.dicom import VARIANTS, write_phantom

_MEGABYTE = 1_000_000
_SAMPLE_EVERY_S = 0.02
_QUIET_PERIOD_S = 1.0
# Order of the walk; "of which" lines are parts of the one before them.
_STAGES = (
    "receive",
    "wait",
    "read",
    "  decode",
    "  vision",
    "  prefill",
    "  report",
    "  classification",
    "  grounding",
    "tell",
    "deliver",
    "all",
)
_WORDS = {
    "receive": "C-STORE request to its response, association included",
    "wait": f"response to reading, of which {_QUIET_PERIOD_S:g} s quiet period",
    "read": "reading, all of it",
    "  decode": "decoding in the limited child",
    "tell": "Draft to outbox: every face built and stored",
    "deliver": "outbox to the last destination's response",
    "all": "C-STORE response to the last result delivered",
}


def main() -> int:
    """Measure and print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=12, help="studies sent (default 12)")
    parser.add_argument("--size-px", type=int, default=2048, help="longer side of an image (default 2048)")
    parser.add_argument("--at-once", action="store_true", help="send all without waiting for results")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    storescp = shutil.which("storescp")
    if storescp is None:
        print("DCMTK's storescp is needed on the PATH", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="service-bench-") as name:
        folder = Path(name)
        files = [folder / f"{number}.dcm" for number in range(arguments.studies)]
        for number, path in enumerate(files):
            write_phantom(
                path, 9_600_000 + number, VARIANTS[number % len(VARIANTS)], size_px=arguments.size_px
            )
        with (
            store_that_keeps_every_copy(Path(storescp), folder / "pacs") as port,
            installation(dicom_destination("pacs", "KEEPER", port)) as site,
            _peak_memory(site) as peak,
        ):
            site.start()
            receive_s = []
            for number, path in enumerate(files, start=1):
                receive_s.append(_timed_send(site, path))
                if not arguments.at_once or number in (1, len(files)):
                    site.wait_until(partial(site.all_done, number), 900, "every study to be done")
            stages = _stages(site)
    stages["receive"] = receive_s[1:]
    if arguments.json:
        print(json.dumps({"stage_s": stages, "peak_rss_bytes": peak}, indent=2))
    else:
        _print(stages, peak, len(files) - 1, arguments.size_px)
    return 0


def _timed_send(site: Installation, path: Path) -> float:
    started_s = time.monotonic()
    (result,) = site.send([path])
    if result.outcome != "stored":
        raise SystemExit(f"the listener answered {result.outcome}")
    return time.monotonic() - started_s


def _stages(site: Installation) -> dict[str, list[float]]:
    """Seconds per stage of every study but the first, from the account book's own times."""
    found: dict[str, list[float]] = defaultdict(list)
    with site.book() as book:
        uids = [study.study_instance_uid for study in reversed(book.studies(limit=10_000))]
        details = sorted((book.study(uid) for uid in uids), key=lambda d: d.summary.received_at_utc)  # type: ignore[union-attr]
        for detail in details[1:]:
            assert detail is not None and detail.draft is not None
            draft, received = detail.draft, detail.summary.received_at_utc
            with reading(book.engine) as session:
                told = session.scalar(
                    select(DeliveryRow.created_at_utc)
                    .join(DraftRow, DraftRow.id == DeliveryRow.draft_id)
                    .join(StudyRow, StudyRow.id == DraftRow.study_id)
                    .where(StudyRow.study_instance_uid == draft.study_instance_uid)
                )
            delivered = max(d.delivered_at_utc for d in detail.deliveries if d.delivered_at_utc)
            assert told is not None
            found["wait"].append((draft.started_at_utc - received).total_seconds())
            found["read"].append((draft.completed_at_utc - draft.started_at_utc).total_seconds())
            found["tell"].append((told - draft.completed_at_utc).total_seconds())
            found["deliver"].append((delivered - told).total_seconds())
            found["all"].append((delivered - received).total_seconds())
            parts = dict(draft.readings[0].stage_s) if draft.readings else {}
            for name, seconds in parts.items():
                found[f"  {name}"].append(seconds)
    return dict(found)


@contextmanager
def _peak_memory(site: Installation) -> Iterator[dict[str, int]]:
    """Peak resident bytes of each process of the service, by what it is."""
    peak: dict[str, int] = {}
    stop = threading.Event()

    def sample() -> None:
        while not stop.wait(_SAMPLE_EVERY_S):
            if site.process is None:
                continue
            with suppress(psutil.Error):
                supervisor = psutil.Process(site.process.pid)
                for process in (supervisor, *supervisor.children(recursive=True)):
                    with suppress(psutil.Error, OSError):
                        name = _name(process.cmdline())
                        peak[name] = max(peak.get(name, 0), peak_rss_bytes(process.pid))

    sampling = threading.Thread(target=sample)
    sampling.start()
    try:
        yield peak
    finally:
        stop.set()
        sampling.join()


def _name(command: Sequence[str]) -> str:
    words = " ".join(command)
    if "limited_child" in words:
        return "decode child"
    if "redis-server" in words:
        return "broker"
    if "-m raddraft" not in words:
        return "starting"
    return words.partition("-m raddraft ")[2].replace("--queues ", "")


def _print(stages: dict[str, list[float]], peak: dict[str, int], count: int, size_px: int) -> None:
    print(f"seconds per study, {count} studies of one {size_px} px image")
    print(f"{'stage':<18}{'median':>8}{'95 %':>8}")
    for stage in _STAGES:
        seconds = sorted(stages.get(stage, []))
        if seconds:
            high = seconds[min(len(seconds) - 1, int(0.95 * len(seconds)))]
            line = f"{stage:<18}{statistics.median(seconds):>8.3f}{high:>8.3f}  {_WORDS.get(stage, '')}"
            print(line.rstrip())
    print(f"\n{'process':<18}{'peak MB':>8}")
    for name, size in sorted(peak.items(), key=lambda item: -item[1]):
        if name != "starting":
            print(f"{name:<18}{size / _MEGABYTE:>8.0f}")


if __name__ == "__main__":
    raise SystemExit(main())
