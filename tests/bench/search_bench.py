"""Searches by DICOMweb over a large catalogue: what a viewer's study list waits for.

``python -m tests.bench.search_bench [--objects N] [--url URL] [--folder FOLDER]``: two objects a study.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import Engine, insert, text

from service.book import migrate
from service.book.catalogue import Criteria, Level, search
from service.book.database import open_engine
from service.book.tables import CatalogueRow, InstanceRow, StudyRow
from service.clock import now_utc

_ROUNDS = 7
_AT_ONCE = 10_000
_LIMIT = 101
# More than any study here has objects.
_PARTS = 100
_ATTRIBUTES = '{"00080005": {"vr": "CS", "Value": ["ISO_IR 192"]}}' + " " * 700
_NAMES = ("adams", "berg", "castro", "dubois", "evans", "fischer", "garcia", "haddad", "ito", "jansen")


def fill(engine: Engine, sizes: Sequence[int]) -> None:
    """Studies of so many objects each, every one with its catalogue row; ten years of days."""
    at = now_utc()
    state = {"first_received_at_utc": at, "last_received_at_utc": at, "updated_at_utc": at, "state": "done"}
    for low in range(1, len(sizes) + 1, _AT_ONCE):
        numbers = range(low, min(low + _AT_ONCE, len(sizes) + 1))
        objects = [(n, part) for n in numbers for part in range(sizes[n - 1])]
        with engine.begin() as connection:
            connection.execute(
                insert(StudyRow), [{"id": n, "study_instance_uid": f"1.2.{n}", **state} for n in numbers]
            )
            connection.execute(insert(InstanceRow), [_instance(n, part, at) for n, part in objects])
            connection.execute(insert(CatalogueRow), [_entry(n, part) for n, part in objects])
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))


def _instance(number: int, part: int, at: object) -> dict[str, object]:
    return {
        "id": _PARTS * number + part,
        "study_id": number,
        "sop_instance_uid": f"1.2.{number}.{part}",
        "sop_class_uid": "1.2.840.10008.5.1.4.1.1.1.1",
        "series_instance_uid": f"1.2.8.{number}",
        "transfer_syntax_uid": "1.2.840.10008.1.2.1",
        "modality": "DX",
        "digest": f"{number}/{part}",
        "size_bytes": 1,
        "spool_key": f"{part}/{number}",
        "state": "analysed",
        "received_at_utc": at,
        "state_since_utc": at,
    }


def _entry(number: int, part: int) -> dict[str, object]:
    days = number % 3650
    return {
        "study_id": number,
        "instance_id": _PARTS * number + part,
        "sop_instance_uid": f"1.2.{number}.{part}",
        "sop_class_uid": "1.2.840.10008.5.1.4.1.1.1.1",
        "series_instance_uid": f"1.2.8.{number}",
        "modality": "DX",
        "patient_id": f"P-{number % 20_000}",
        "issuer_of_patient_id": "HOSP",
        "patient_name": f"{_NAMES[number % 10]}-{number % 7919}^ann",
        "accession_number": f"A-{number}",
        "study_date": f"{2016 + days // 365}{1 + days % 12:02}{1 + days % 28:02}",
        "attributes_json": _ATTRIBUTES,
    }


SEARCHES = {
    "no key": Criteria(),
    "modality": Criteria(modalities=("DX",)),
    "modality none has": Criteria(modalities=("US",)),
    "name *evans*": Criteria(patient_name="*evans*"),
    "name evans-17*": Criteria(patient_name="evans-17*"),
    "name *nobody*": Criteria(patient_name="*nobody*"),
    "patient": Criteria(patient_id="P-77"),
    "accession": Criteria(accession_number="A-4711"),
    "one day": Criteria(study_dates=("20200202", "20200202")),
    "since 2017": Criteria(study_dates=("20170101", "")),
}


def main() -> None:
    """Fill a catalogue and time the searches."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--url", default="", help="an empty database; default: SQLite in a temporary folder")
    parser.add_argument("--folder", type=Path, help="where the book is kept for the next run")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(TemporaryDirectory(prefix="search-bench-")))
        folder.mkdir(parents=True, exist_ok=True)
        url = options.url or f"sqlite:///{folder}/book.sqlite"
        migrate(url)
        engine = open_engine(url)
        if not (folder / "made").exists():
            fill(engine, [2] * (options.objects // 2))
            (folder / "made").touch()
        print(f"{engine.dialect.name}, {options.objects} objects; ms, own CPU / wall, median of {_ROUNDS}")
        for name, criteria in SEARCHES.items():
            for level in (Level.STUDY, Level.SERIES, Level.INSTANCE):
                spent = [_timed(engine, level, criteria) for _ in range(_ROUNDS)]
                cpu, wall = (statistics.median(each) for each in zip(*spent, strict=True))
                print(f"{name:18} {level.value:9} {1000 * cpu:8.1f} / {1000 * wall:8.1f}", flush=True)
        engine.dispose()


def _timed(engine: Engine, level: Level, criteria: Criteria) -> tuple[float, float]:
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    search(engine, level, criteria, limit=_LIMIT, offset=0)
    return time.process_time() - cpu_s, time.perf_counter() - wall_s


if __name__ == "__main__":
    main()
