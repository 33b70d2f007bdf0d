"""A worker that stands still past its lease and wakes up late: its work was done by another, and it changes nothing.

Of a reading on SQLite, of a delivery on PostgreSQL.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock

import pytest
from pynetdicom import AE, evt
from pynetdicom.events import Event as DicomEvent
from pynetdicom.presentation import StoragePresentationContexts

from service.supervisor import role_command
from tests.postgres import PostgresServer
from tests.promises.far_ends import dicom_destination
from tests.promises.installation import Installation, free_port, installation
from tests.promises.once import assert_all_delivered_once
from training.phantoms.dicom import VARIANTS, write_phantom

STUDIES = 4
pytestmark = pytest.mark.slow(60)
_IN_TRANSACTION = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND state IS NOT NULL AND xact_start IS NOT NULL AND pid <> pg_backend_pid()"""


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("phantoms")
    files = [folder / f"{number}.dcm" for number in range(STUDIES)]
    for number, path in enumerate(files):
        write_phantom(path, 9_300_000 + number, VARIANTS[number % len(VARIANTS)], size_px=512)
    return files


def rows(site: Installation, query: str) -> list[tuple[object, ...]]:
    with site.book() as book, book.engine.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query)]


def book_is_free(site: Installation) -> bool:
    """Whether nobody stands still in the middle of a transaction: the whole book would wait for that one."""
    with site.book() as book, book.engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            return not connection.exec_driver_sql(_IN_TRANSACTION).scalar()
        raw = connection.connection.cursor()
        try:
            raw.execute("PRAGMA busy_timeout=500")
            raw.execute("BEGIN IMMEDIATE")
            raw.execute("ROLLBACK")
        except sqlite3.OperationalError:
            return False
    return True


def paused_while(site: Installation, queue: str, at_work: Callable[[], bool]) -> int:
    """Stop the worker of a queue (SIGSTOP) while it is at work; its process id."""
    (process_id,) = [
        pid for command, pid in site.process_ids().items() if command.endswith(f"--queues {queue}")
    ]
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if at_work():
            os.kill(process_id, signal.SIGSTOP)
            # In this order: a book that is not free keeps whoever asks it anything waiting.
            if book_is_free(site) and at_work():
                return process_id
            os.kill(process_id, signal.SIGCONT)
        time.sleep(0.02)
    raise AssertionError(f"the worker of {queue} was never seen at work")


@contextmanager
def another_worker(site: Installation, queue: str) -> Iterator[None]:
    """A second worker on the installation's book and broker."""
    environment = {**os.environ, **site.environment, "RADDRAFT_CONFIG": str(site.config)}
    with (site.folder / "other.log").open("wb") as log:
        process = subprocess.Popen(
            role_command("worker", "--queues", queue),
            env={**environment, "RADDRAFT_ROLE_NAME": f"other-{queue}"},
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


def fenced_off(site: Installation, event: str) -> int:
    """How often a worker has written into its log that its late change was refused."""
    lines = (site.folder / "service.log").read_text(errors="replace").splitlines()
    return sum(event in line and "stale-lease" in line for line in lines)


def test_a_reading_worker_that_wakes_up_late_changes_nothing(phantoms: list[Path]) -> None:
    with installation() as site:
        site.start()
        assert [result.outcome for result in site.send(phantoms)] == ["stored"] * STUDIES
        reading = "SELECT id, fence FROM studies WHERE state = 'reading'"
        paused = paused_while(site, "gpu", lambda: bool(rows(site, reading)))
        try:
            held = dict(rows(site, reading))
            with another_worker(site, "gpu"):
                site.wait_until(lambda: site.all_done(STUDIES), 240, "the other worker to read every study")
                drafts = rows(site, "SELECT id, study_id, version FROM drafts")
                os.kill(paused, signal.SIGCONT)
                site.wait_until(
                    lambda: fenced_off(site, "reading_not_saved") >= len(held),
                    120,
                    "the late worker's results",
                )
        finally:
            os.kill(paused, signal.SIGCONT)
        now = dict(rows(site, "SELECT id, fence FROM studies"))
        # One lease of the paused worker, one of the other, one for telling.
        assert all(now[study] >= fence + 2 for study, fence in held.items())
        assert rows(site, "SELECT id, study_id, version FROM drafts") == drafts
        assert_all_delivered_once(site, STUDIES)


@dataclass
class HesitantStore:
    """A store that keeps its answer to the first object back until it is let go."""

    received: list[tuple[str, bytes]] = field(default_factory=list)
    has_one: Event = field(default_factory=Event)
    let_go: Event = field(default_factory=Event)
    lock: Lock = field(default_factory=Lock)

    def take(self, event: DicomEvent) -> int:
        """Handler of C-STORE."""
        with self.lock:
            is_first = not self.received
            self.received.append((str(event.request.AffectedSOPInstanceUID), event.encoded_dataset()))
        self.has_one.set()
        if is_first:
            self.let_go.wait(240)
        return 0x0000


@contextmanager
def serving(store: HesitantStore) -> Iterator[int]:
    """The store on a free port."""
    ae = AE("HESITANT")
    for context in StoragePresentationContexts:
        ae.add_supported_context(context.abstract_syntax or "")
    ae.dimse_timeout = ae.network_timeout = 300
    port = free_port()
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, store.take)])
    try:
        yield port
    finally:
        store.let_go.set()
        server.shutdown()


@pytest.mark.interop
def test_a_delivering_worker_that_wakes_up_late_changes_nothing(
    postgres: PostgresServer, phantoms: list[Path]
) -> None:
    store = HesitantStore()
    with (
        serving(store) as port,
        installation(
            dicom_destination("hesitant", "HESITANT", port), database_url=postgres.new_database_url()
        ) as site,
    ):
        site.start()
        assert [result.outcome for result in site.send(phantoms[:1])] == ["stored"]
        site.wait_until(store.has_one.is_set, 120, "the first object to reach the store")
        # Only the object the store holds back: the rest of the study's deliveries have ended, or wait behind it.
        sending = "SELECT id, fence FROM deliveries WHERE state = 'sending' AND destination = 'hesitant'"
        paused = paused_while(site, "io", lambda: bool(rows(site, sending)))
        try:
            held = dict(rows(site, sending))
            with another_worker(site, "io"):
                store.let_go.set()
                site.wait_until(lambda: site.all_done(1), 240, "the other worker to deliver everything")
                attempts = rows(site, "SELECT * FROM delivery_attempts ORDER BY id")
                os.kill(paused, signal.SIGCONT)
                site.wait_until(
                    lambda: fenced_off(site, "delivery_not_recorded") >= len(held), 120, "the late outcomes"
                )
        finally:
            os.kill(paused, signal.SIGCONT)
        assert rows(site, "SELECT * FROM delivery_attempts ORDER BY id") == attempts
        now = dict(rows(site, "SELECT id, fence FROM deliveries"))
        assert all(now[delivery] == fence + 1 for delivery, fence in held.items())
        # Sent twice, and the same both times: one object there.
        kept = dict(store.received)
        assert len(store.received) > len(kept)
        assert all(content == kept[uid] for uid, content in store.received)
        delivered = rows(site, "SELECT subject_id FROM audit_log WHERE action = 'deliver' AND outcome = 'ok'")
        assert len(delivered) == len(set(delivered)) == len(rows(site, "SELECT id FROM deliveries"))
        assert_all_delivered_once(site, 1)
