"""A book of a million studies: how long the listing and the account take. Run it alone: it writes about 2 GB.

``python -m tests.bench.book_bench [--studies N] [--held N] [--url URL] [--folder FOLDER]``: `--held` of the newest
objects still have their file in the spool, the older ones are purged, as retention leaves them. With `--folder` the
book is kept there, and measured again by the next run.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, text

import service.book
from clinical import draft_to_json
from dicom_node import PosixSpool
from service.book import Book, StudyCursor, migrate, open_book
from service.book.database import open_engine
from tests.hl7_fhir.drafts import draft

_ROUNDS = 15
_AT_ONCE = 50_000
# Before the running counts: filling the tables is then a matter of minutes, and the migration counts the rows.
_FILLED_AT = "0003"

_STUDIES = """
INSERT INTO studies (id, study_instance_uid, state, first_received_at_utc, last_received_at_utc, updated_at_utc,
  lease_owner, fence, attempts, priority, arrivals, arrivals_taken, draft_version, outcome, reason_code, reason)
SELECT i, '1.2.826.0.1.3680043.8.498.' || i, CASE WHEN i % 50000 = 0 THEN 'delivering' ELSE 'done' END,
  {at}, {at}, {at}, '', 2, 0, 0, 1, 1, 1, 'findings', '', '' FROM {numbers}"""
_INSTANCES = """
INSERT INTO instances (study_id, sop_instance_uid, sop_class_uid, series_instance_uid, transfer_syntax_uid, modality,
  dataset_sha256, file_sha256, size_bytes, spool_key, receipt_count, state, reason_code, reason, received_at_utc,
  state_since_utc, purged_at_utc)
SELECT i, '1.2.826.0.1.3680043.8.498.' || i || '.{part}', '1.2.840.10008.5.1.4.1.1.1.1', '1.2.8.' || i,
  '1.2.840.10008.1.2.1', 'DX', '{part}' || i, '{part}' || i, 500000, '{part}/' || i, 1,
  CASE WHEN {part} = 0 THEN 'analysed' ELSE 'not_assessed' END, '', '', {at}, {at},
  CASE WHEN i > {first_held} THEN NULL ELSE {at} END FROM {numbers}"""
_RECEIPTS = """
INSERT INTO receipts (instance_id, calling_ae_title, called_ae_title, calling_host, received_at_utc)
SELECT id, 'MODALITY', 'RADDRAFT', '10.0.0.7', received_at_utc FROM instances WHERE study_id > {low}
  AND study_id <= {high}"""
_DRAFTS = """
INSERT INTO drafts (id, study_id, version, outcome, draft_json, created_at_utc, answers, malformed_answers)
SELECT i, i, 1, 'findings', CAST(:draft AS TEXT), {at}, 14, 0 FROM {numbers}"""
_DELIVERIES = """
INSERT INTO deliveries (study_id, draft_id, artefact_id, destination, kind, image_sop_instance_uid, state, attempts,
  created_at_utc, lease_owner, fence, last_status, reason_code, reason)
SELECT i, i, NULL, 'pacs', '{kind}', '', CASE WHEN i % 50000 = 0 THEN 'gave_up' ELSE 'delivered' END, 1, {at}, '', 1,
  '0x0000', '', '' FROM {numbers}"""


def main() -> int:
    """Fill a book and time what an operator waits for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=1_000_000)
    parser.add_argument(
        "--held", type=int, default=10_000, help="studies whose objects still have their files"
    )
    parser.add_argument("--url", default="", help="an empty database; default: SQLite in a temporary folder")
    parser.add_argument("--folder", type=Path, help="where book and files are kept for the next run")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(TemporaryDirectory(prefix="book-bench-")))
        folder.mkdir(parents=True, exist_ok=True)
        url = options.url or f"sqlite:///{folder}/book.sqlite"
        spool = PosixSpool(folder / "spool")
        made = folder / "made"
        if not made.exists():
            _make(url, spool, options.studies, options.studies - options.held)
            made.write_text(str(options.studies))
        migrate(url)
        book = open_book(url)
        _measure(book, spool, int(made.read_text()))
        book.engine.dispose()
    return 0


def _make(url: str, spool: PosixSpool, studies: int, first_held: int) -> None:
    started = time.monotonic()
    _fill(url, studies, first_held)
    print(f"filled with {studies} studies in {time.monotonic() - started:.0f} s", flush=True)
    started = time.monotonic()
    migrate(url)
    print(f"brought to this version's tables in {time.monotonic() - started:.0f} s", flush=True)
    engine = open_engine(url)
    _hold_files(engine, spool)
    engine.dispose()


def _fill(url: str, studies: int, first_held: int) -> None:
    engine = open_engine(url)
    config = Config()
    config.set_main_option("script_location", str(Path(service.book.__file__).parent / "migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, _FILLED_AT)
    postgresql = engine.dialect.name == "postgresql"
    at = "TIMESTAMP '2026-01-01' + i * INTERVAL '1 second'"
    at = at if postgresql else "strftime('%Y-%m-%d %H:%M:%f000', '2026-01-01', i || ' seconds')"
    for low in range(0, studies, _AT_ONCE):
        high = min(low + _AT_ONCE, studies)
        series = f"generate_series({low + 1}, {high}) AS numbers(i)"
        counting = (
            f"(WITH RECURSIVE n(i) AS (SELECT {low + 1} UNION ALL SELECT i + 1 FROM n WHERE i < {high}) "
        )
        numbers = series if postgresql else f"{counting} SELECT i FROM n)"
        terms = {"at": at, "numbers": numbers, "low": low, "high": high, "first_held": first_held}
        with engine.begin() as connection:
            connection.execute(text(_STUDIES.format(**terms)))
            for part in (0, 1):
                connection.execute(text(_INSTANCES.format(part=part, **terms)))
            connection.execute(text(_RECEIPTS.format(**terms)))
            connection.execute(text(_DRAFTS.format(**terms)), {"draft": draft_to_json(draft())})
            for kind in ("sr", "sc"):
                connection.execute(text(_DELIVERIES.format(kind=kind, **terms)))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if postgresql:
            connection.execute(text("VACUUM ANALYZE"))
            for table in ("studies", "instances", "receipts", "drafts", "deliveries"):
                connection.execute(
                    text(
                        f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT MAX(id) FROM {table}))"
                    )
                )
    engine.dispose()


def _hold_files(engine: Engine, spool: PosixSpool) -> None:
    """One file for each object that is not purged."""
    with engine.begin() as connection:
        ids = connection.execute(text("SELECT id FROM instances WHERE purged_at_utc IS NULL")).scalars().all()
        for number, row_id in enumerate(ids):
            key = f"{number % 256:02x}/{row_id:032x}.dcm"
            spool.path(key).parent.mkdir(exist_ok=True)
            spool.path(key).write_bytes(b"x")
            connection.execute(
                text("UPDATE instances SET spool_key = :key WHERE id = :id"), {"key": key, "id": row_id}
            )
    print(f"{len(ids)} objects hold a file", flush=True)


def _measure(book: Book, spool: PosixSpool, studies: int) -> None:
    middle = StudyCursor.of(book.studies(limit=1, offset=studies // 2)[0])
    taken = book.account(spool)
    assert taken.balanced, taken.problems
    assert taken.objects == 2 * studies
    asked: dict[str, Callable[[], object]] = {
        "listing, first page of 100": lambda: book.studies(limit=100),
        "listing, a page in the middle": lambda: book.studies(limit=100, after=middle),
        "listing, one state, in the middle": lambda: book.studies(state="done", limit=100, after=middle),
        "listing, a rare state": lambda: book.studies(state="delivering", limit=100),
        "where is study X": lambda: book.study(f"1.2.826.0.1.3680043.8.498.{studies // 3}"),
        "account, rows": lambda: book.account(),
        "account, rows and files": lambda: book.account(spool),
        "metrics": book.counts,
    }
    print(f"{book.engine.dialect.name}: median, slowest and own CPU time of {_ROUNDS}, milliseconds")
    slowest = 0.0
    times: dict[str, list[float]] = {name: [] for name in asked}
    cpu: dict[str, list[float]] = {name: [] for name in asked}
    for _ in range(_ROUNDS):
        for name, ask in asked.items():
            started, worked = time.perf_counter(), time.process_time()
            ask()
            times[name].append((time.perf_counter() - started) * 1000)
            cpu[name].append((time.process_time() - worked) * 1000)
    for name, values in times.items():
        slowest = max(slowest, statistics.median(values))
        own = statistics.median(cpu[name])
        print(f"  {name:36} {statistics.median(values):8.1f} {max(values):8.1f} {own:8.1f}", flush=True)
    print(f"slowest median {slowest:.1f} ms; the promise is 300 ms")


if __name__ == "__main__":
    sys.exit(main())
