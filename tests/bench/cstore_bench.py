"""How fast objects are received durably, beside DCMTK's storescp and Orthanc in the same run.

Run it from the repository's root::

    python -m tests.bench.cstore_bench --rounds 3

Every receiver gets the same files from the same sender (DCMTK's storescu, one process per association, with
``TCP_NODELAY=1`` on both sides), after a few small ones that are not counted; the receivers take turns within a round,
and medians are printed. RadDraft writes with
fsync of file and folder and commits to the account book before it answers; Orthanc (where it is installed) stores
synchronously and commits to its index; storescp does none of that. Seconds depend on what else the machine does; the
processor time a receiver needs for one object (user and system, its children with it) hardly does.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from pydicom.uid import generate_uid

from dicom_node import Peer, echo
from tests.bench.cstore_receiver import ledger_of, listening_socket
from tests.bench.memory import peak_rss_bytes
from tests.dicom_node.crafted import as_file, crafted_dataset

_REPOSITORY = Path(__file__).resolve().parents[2]
_MAX_PDU_BYTES = 131072
_MEGABYTE = 1_000_000
_READY_WITHIN_S = 60.0
_SAMPLE_EVERY_S = 0.02


@dataclass(frozen=True)
class Load:
    """What is sent: `count` objects of `size_bytes`, over `associations` at once."""

    size_bytes: int
    count: int
    associations: int

    def __str__(self) -> str:
        return f"{self.size_bytes / _MEGABYTE:g} MB x {self.count}, {self.associations} association(s)"


# What every receiver has taken in before it is measured: no hospital meets one that has just been started.
_WARM_UP = Load(size_bytes=20_000, count=32, associations=8)


@dataclass(frozen=True)
class Run:
    """One receiver's turn: the files of the load, and those that come before it."""

    receiver: str
    load: Load
    files: Sequence[Path]
    warm_up: Sequence[Path]
    ledger: str


@dataclass
class Measured:
    """One receiver's runs of one load."""

    seconds: list[float] = field(default_factory=list)
    peak_rss_bytes: list[int] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)


def main() -> int:
    """Measure and print the table."""
    arguments = _parser().parse_args()
    if shutil.which("storescu") is None or shutil.which("storescp") is None:
        print("DCMTK's storescu and storescp are needed on the PATH", file=sys.stderr)
        return 2
    loads = [
        Load(size_bytes, count, associations)
        for size_bytes, count in ((_MEGABYTE // 2, arguments.small), (15 * _MEGABYTE, arguments.big))
        for associations in arguments.associations
        if count
    ]
    receivers = [f"raddraft x{number}" for number in arguments.processes]
    receivers += ["orthanc"] * (shutil.which("Orthanc") is not None) + ["storescp"]
    results: dict[tuple[Load, str], Measured] = {}
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="cstore-bench-") as folder:
        warm_up = _written_files(Path(folder) / "warm-up", _WARM_UP)
        for load in loads:
            files = _written_files(Path(folder) / "files", load)
            for turn in range(arguments.rounds):
                for receiver in receivers[turn % len(receivers) :] + receivers[: turn % len(receivers)]:
                    measured = results.setdefault((load, receiver), Measured())
                    run = Run(receiver, load, files, warm_up, arguments.ledger)
                    _measure(run, Path(folder) / "received", measured)
            shutil.rmtree(Path(folder) / "files")
    _print(loads, receivers, results)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="turns of every receiver (default 3)")
    parser.add_argument("--small", type=int, default=100, help="objects of 0.5 MB per run (default 100)")
    parser.add_argument("--big", type=int, default=12, help="objects of 15 MB per run (default 12)")
    parser.add_argument("--associations", type=int, nargs="+", default=[1, 4], help="at once (default 1 4)")
    parser.add_argument(
        "--processes", type=int, nargs="+", default=[1], help="listener processes (default 1)"
    )
    parser.add_argument("--ledger", choices=["book", "sqlite"], default="book", help="what receipts go into")
    parser.add_argument(
        "--folder", type=Path, default=None, help="on the disk to measure (default: temporary)"
    )
    return parser


def _written_files(folder: Path, load: Load) -> list[Path]:
    folder.mkdir(exist_ok=True)
    study, series = generate_uid(), generate_uid()
    paths = []
    for number in range(load.count):
        pixels = secrets.token_bytes(load.size_bytes)
        dataset = crafted_dataset(pixels=pixels, StudyInstanceUID=study, SeriesInstanceUID=series)
        path = folder / f"{load.size_bytes}-{number}.dcm"
        path.write_bytes(as_file(dataset))
        paths.append(path)
    return paths


def _measure(run: Run, folder: Path, measured: Measured) -> None:
    folder.mkdir()
    load = run.load
    try:
        with _running(run.receiver, folder, run.ledger) as (port, processes):
            _send(run.warm_up, _WARM_UP.associations, port)
            with _sampled(processes) as peak:
                before_s = sum(map(_cpu_seconds, processes))
                measured.seconds.append(_send(run.files, load.associations, port))
                measured.cpu_seconds.append(sum(map(_cpu_seconds, processes)) - before_s)
        measured.peak_rss_bytes.append(max(peak.values(), default=0))
        stored = sum(
            path.is_file() and path.stat().st_size >= load.size_bytes and not _is_database(path)
            for path in folder.rglob("*")
        )
        if stored != load.count:
            raise SystemExit(f"{run.receiver} kept {stored} of {load.count} objects")
    finally:
        shutil.rmtree(folder)


def _is_database(path: Path) -> bool:
    """Whether it is ours or Orthanc's, or its write-ahead log."""
    return "sqlite" in path.name or path.name.startswith("index")


@contextmanager
def _running(receiver: str, folder: Path, ledger: str) -> Iterator[tuple[int, list[int]]]:
    """A receiver's port and process ids, once it answers."""
    environment = {**os.environ, "TCP_NODELAY": "1"}
    with ExitStack() as stack:
        listening = stack.enter_context(listening_socket())
        port = int(listening.getsockname()[1])
        if receiver == "storescp":
            listening.close()
            command = ["storescp", "--fork", "+B", "-pdu", str(_MAX_PDU_BYTES), "-aet", "RADDRAFT"]
            commands = [[*command, "-od", str(folder), str(port)]]
        elif receiver == "orthanc":
            listening.close()
            commands = [["Orthanc", str(_orthanc_configuration(folder, port))]]
        else:
            ledger_of(ledger, folder)
            module = [
                sys.executable,
                "-m",
                "tests.bench.cstore_receiver",
                str(listening.fileno()),
                str(folder),
                ledger,
            ]
            commands = [module] * int(receiver.rpartition("x")[2])
        started = []
        for command in commands:
            process = _started(command, environment, listening)
            stack.callback(_ended, process)
            started.append(process)
        for process in started:
            # Each of several listens, not only the first: one that is still starting takes the others' processor.
            if process.stdout is not None and process.stdout.readline().strip() != b"listening":
                raise SystemExit(f"{receiver} did not start")
        _wait_for(port)
        yield port, [process.pid for process in started]


def _orthanc_configuration(folder: Path, port: int) -> Path:
    configuration = folder / "orthanc.json"
    settings = {
        "StorageDirectory": str(folder / "store"),
        "IndexDirectory": str(folder / "store"),
        "SyncStorageArea": True,
        "StorageCompression": False,
        "HttpServerEnabled": False,
        "DicomPort": port,
        "DicomAet": "RADDRAFT",
        "DicomAlwaysAllowStore": True,
        "DicomAlwaysAllowEcho": True,
        "UnknownSopClassAccepted": True,
    }
    configuration.write_text(json.dumps(settings))
    return configuration


def _started(
    command: Sequence[str], environment: dict[str, str], listening: socket.socket
) -> subprocess.Popen[bytes]:
    inherited = (listening.fileno(),) if listening.fileno() >= 0 else ()
    return subprocess.Popen(
        command,
        cwd=_REPOSITORY,
        env=environment,
        pass_fds=inherited,
        stdout=subprocess.PIPE if command[0] == sys.executable else subprocess.DEVNULL,
        stderr=subprocess.DEVNULL if command[0] == "Orthanc" else None,
    )


def _ended(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _wait_for(port: int) -> None:
    ends_s = time.monotonic() + _READY_WITHIN_S
    while True:
        try:
            echo(Peer("RADDRAFT", "127.0.0.1", port), calling_ae_title="BENCH")
            return
        except Exception:
            if time.monotonic() > ends_s:
                raise
            time.sleep(0.1)


def _send(files: Sequence[Path], associations: int, port: int) -> float:
    """Seconds until the last of `associations` senders has its last response."""
    command = ["storescu", "-aec", "RADDRAFT", "-pdu", str(_MAX_PDU_BYTES), "127.0.0.1", str(port)]
    environment = {**os.environ, "TCP_NODELAY": "1"}
    started_s = time.monotonic()
    senders = [
        subprocess.Popen(
            [*command, *map(str, files[number::associations])],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for number in range(associations)
    ]
    for sender in senders:
        _, errors = sender.communicate()
        if sender.returncode:
            raise SystemExit(f"storescu failed: {errors.decode(errors='replace')[-500:]}")
    return time.monotonic() - started_s


@contextmanager
def _sampled(processes: Sequence[int]) -> Iterator[dict[int, int]]:
    """Peak resident bytes of these processes and their children, looked at every few milliseconds."""
    peak: dict[int, int] = {}
    stop = threading.Event()

    def sample() -> None:
        while not stop.wait(_SAMPLE_EVERY_S):
            for process in processes:
                for each in (process, *_children(process)):
                    peak[each] = max(peak.get(each, 0), peak_rss_bytes(each))

    sampling = threading.Thread(target=sample)
    sampling.start()
    try:
        yield peak
    finally:
        stop.set()
        sampling.join()


def _children(process: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except OSError:
        return []


def _cpu_seconds(process: int) -> float:
    # storescp has a child for each association, which has ended by now and may not have been waited for.
    receiver = psutil.Process(process)
    while True:
        try:
            times = [each.cpu_times() for each in (*receiver.children(recursive=True), receiver)]
        except psutil.NoSuchProcess:
            continue  # it was waited for just now: its time is the receiver's from here on
        return float(
            sum(told.user + told.system + told.children_user + told.children_system for told in times)
        )


def _print(
    loads: Sequence[Load], receivers: Sequence[str], results: dict[tuple[Load, str], Measured]
) -> None:
    print(
        f"{'receiver':<14}{'objects/s':>10}{'MB/s':>8}{'min-max MB/s':>15}{'/storescp':>11}"
        f"{'CPU ms/object':>15}{'peak MB':>9}"
    )
    for load in loads:
        print(f"-- {load}")
        reference_s = statistics.median(results[load, "storescp"].seconds)
        for receiver in receivers:
            measured = results[load, receiver]
            total_mb = load.count * load.size_bytes / _MEGABYTE
            middle_s = statistics.median(measured.seconds)
            slowest, fastest = total_mb / max(measured.seconds), total_mb / min(measured.seconds)
            print(
                f"{receiver:<14}{load.count / middle_s:>10.1f}{total_mb / middle_s:>8.0f}"
                f"{slowest:>8.0f}-{fastest:<6.0f}{reference_s / middle_s:>11.2f}"
                f"{statistics.median(measured.cpu_seconds) / load.count * 1000:>15.2f}"
                f"{max(measured.peak_rss_bytes) / _MEGABYTE:>9.0f}"
            )


if __name__ == "__main__":
    raise SystemExit(main())
