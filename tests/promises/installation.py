"""A whole RadDraft with embedded defaults in a temporary folder, for tests that break it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp

import httpx
import psutil

from dicom_node import Peer, PosixSpool, SendResult, send_objects
from service.book import Account, Book, open_book
from service.supervisor import role_command
from training.phantoms.dicom import ISSUER

STARTING_TIMEOUT_S = 240.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Installation:
    """`raddraft serve` as a site runs it, and the ways to hurt it."""

    def __init__(
        self,
        folder: Path,
        more: str = "",
        database_url: str = "",
        node_port: int | None = None,
        *,
        has_archive: bool = True,
    ) -> None:
        self.folder = folder
        self.results = folder / "archive"
        self.database_url = database_url or f"sqlite:///{folder / 'data' / 'raddraft.sqlite'}"
        self.node_port, self.http_port = node_port or free_port(), free_port()
        self.config = folder / "site.toml"
        self.config.write_text(
            f"""
data_dir = "{folder / "data"}"
[database]
url = "{self.database_url}"
[node]
port = {self.node_port}
peers = [{{ ae_title = "MODALITY", host = "127.0.0.1" }}, {{ ae_title = "ORTHANC", host = "127.0.0.1" }}]
[study]
quiet_period_s = 1
retry_delay_s = 1
[lease]
lease_s = 5
hint_age_s = 3
[http]
port = {self.http_port}
{self._folder_destination() if has_archive else ""}
{more}
""",
            encoding="utf-8",
        )
        self.environment: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None

    def _folder_destination(self) -> str:
        return f"""
[[destinations]]
name = "archive"
type = "folder"
path = "{self.results}"
default_patient_system = "urn:test"
issuers = {{ "{ISSUER}" = "urn:test" }}
"""

    def start(self) -> None:
        environment = {**os.environ, **self.environment, "RADDRAFT_CONFIG": str(self.config)}
        with (self.folder / "service.log").open("ab") as log:
            self.process = subprocess.Popen(
                role_command("serve"), env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        self.wait_until(self._is_ready, STARTING_TIMEOUT_S, "the service to be ready")

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.http_port}/health/ready", timeout=5).is_success
        except httpx.HTTPError:
            return False

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)

    def kill_supervisor(self) -> None:
        assert self.process is not None
        children = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        self.process.wait()
        psutil.wait_procs(children, timeout=20)
        assert not [
            child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE
        ]

    def kill_role(self, *words: str) -> int:
        """SIGKILL the child whose command line holds all `words`, once it runs; return its process id."""
        assert self.process is not None
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for child in psutil.Process(self.process.pid).children():
                with suppress(psutil.NoSuchProcess):
                    if all(any(word in part for part in child.cmdline()) for word in words):
                        child.send_signal(signal.SIGKILL)
                        return child.pid
            time.sleep(0.2)
        raise AssertionError(f"no child process with {words}")

    def send(self, files: list[Path]) -> list[SendResult]:
        peer = Peer("RADDRAFT", "127.0.0.1", self.node_port)
        return [send_objects([file], peer, calling_ae_title="MODALITY")[0] for file in files]

    @contextmanager
    def book(self) -> Iterator[Book]:
        book = open_book(self.database_url)
        try:
            yield book
        finally:
            book.engine.dispose()

    def account(self) -> Account:
        with self.book() as book:
            return book.account(PosixSpool(self.folder / "data" / "spool"), deep=True)

    def states(self, what: str) -> dict[str, int]:
        """Counts by state of ``"states"`` (objects), ``"studies"`` or ``"deliveries"``, from the rows alone."""
        with self.book() as book:
            counts: dict[str, int] = getattr(book.account(), what)
            return counts

    def wait_until(self, met: Callable[[], bool], timeout_s: float, what: str) -> None:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if met():
                return
            time.sleep(0.3)
        log = (self.folder / "service.log").read_text(errors="replace")[-3000:]
        raise AssertionError(f"waited {timeout_s} s for {what}; log ends with:\n{log}")

    def at_rest(self) -> bool:
        """Whether nothing is on its way: every object has ended, every result is delivered or held for a person."""
        with self.book() as book:
            account = book.account()
        states, studies, deliveries = account.states, account.studies, account.deliveries
        return not (
            sum(states[name] for name in ("received", "waiting", "reading"))
            + sum(studies[name] for name in ("receiving", "queued", "reading", "drafted", "telling"))
            + sum(deliveries[name] for name in ("pending", "sending"))
        )

    def cpu_s(self) -> dict[str, float]:
        """Processor seconds of each role and its children since its last start, by the words of its command line."""
        assert self.process is not None
        used = {}
        for child in psutil.Process(self.process.pid).children():
            times = child.cpu_times()
            running = sum(sum(each.cpu_times()[:2]) for each in child.children(recursive=True))
            # A Redis server writes its own title over its command line.
            words = [word for word in child.cmdline()[-3:] if word and word not in ("-m", "raddraft")]
            name = " ".join(words).partition(" ")[0] if "redis" in child.name() else " ".join(words)
            used[name] = sum(times[:4]) + running
        return used

    def process_ids(self) -> dict[str, int]:
        """Process id of each role, by its command line."""
        assert self.process is not None
        children = psutil.Process(self.process.pid).children()
        return {" ".join(child.cmdline()[-3:]): child.pid for child in children}

    def all_done(self, count: int) -> bool:
        with self.book() as book:
            return (
                len([s for s in book.studies(limit=1000) if s.state in ("done", "failed", "ignored")])
                >= count
            )


@contextmanager
def installation(
    more: str = "", *, database_url: str = "", node_port: int | None = None, has_archive: bool = True
) -> Iterator[Installation]:
    """An installation not yet started; `more` is added to its configuration. Without a database it has SQLite.

    With `has_archive`, a folder gets every face of every result.
    """
    # A short path: the embedded broker's socket must fit into 107 bytes.
    folder = Path(mkdtemp(prefix="rd-"))
    site = Installation(folder, more, database_url, node_port, has_archive=has_archive)
    try:
        yield site
    finally:
        site.stop()
        shutil.rmtree(folder, ignore_errors=True)
