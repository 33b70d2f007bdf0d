"""The hospital around an installation: a PACS, a store that keeps every copy, a modality's log, a bad network."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

import httpx

from tests.promises.installation import free_port

# Debian's DCMTK waits 40 ms for a delayed acknowledgement at each object without it.
_ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}


def _wait_for_port(port: int, process: subprocess.Popen[bytes], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise AssertionError(f"nothing listens on port {port}; exit status {process.poll()}")


def dicom_destination(name: str, ae_title: str, port: int) -> str:
    """Settings of one DICOM destination on this machine."""
    return (
        f'[[destinations]]\nname = "{name}"\ntype = "dicom"\nae_title = "{ae_title}"\n'
        f'host = "127.0.0.1"\nport = {port}\n'
    )


@contextmanager
def orthanc(
    executable: Path,
    folder: Path,
    *,
    dicom_port: int,
    lua: str = "",
    raddraft_port: int | None = None,
    plugins: Path | None = None,
    more: Mapping[str, object] | None = None,
) -> Iterator[httpx.Client]:
    """Orthanc as the PACS, with a client of its REST interface; with `plugins`, its DICOMweb too.

    `more` is added to its configuration.
    """
    http_port = free_port()
    (folder / "route.lua").write_text(lua)
    config = {
        "StorageDirectory": str(folder / "pacs"),
        "IndexDirectory": str(folder / "pacs"),
        "LuaScripts": [str(folder / "route.lua")] if lua else [],
        "HttpPort": http_port,
        "DicomPort": dicom_port,
        "DicomAet": "ORTHANC",
        "DicomAlwaysAllowStore": True,
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowGet": True,
        "AuthenticationEnabled": False,
        "RemoteAccessAllowed": False,
        "UnknownSopClassAccepted": True,
        "DicomModalities": {},
        "Plugins": [str(plugins)] if plugins is not None else [],
    }
    if raddraft_port:
        config["DicomModalities"] = {"raddraft": ["RADDRAFT", "127.0.0.1", raddraft_port]}
    config |= more or {}
    (folder / "orthanc.json").write_text(json.dumps(config))
    with (folder / "orthanc.log").open("wb") as log:
        process = subprocess.Popen(
            [executable, folder / "orthanc.json"], stdout=log, stderr=log, cwd=folder, env=_ENVIRONMENT
        )
    try:
        _wait_for_port(http_port, process)
        _wait_for_port(dicom_port, process)
        with httpx.Client(base_url=f"http://127.0.0.1:{http_port}", timeout=60) as client:
            yield client
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def store_that_keeps_every_copy(executable: Path, folder: Path) -> Iterator[int]:
    """DCMTK's storescp writing each object it accepts to a file of its own, bit by bit; its port."""
    folder.mkdir()
    port = free_port()
    command = [str(executable), "--fork", "+uf", "+B", "-od", str(folder), "-aet", "KEEPER", str(port)]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=_ENVIRONMENT
    )
    try:
        _wait_for_port(port, process)
        yield port
    finally:
        process.terminate()
        process.wait(30)


class ModalityLog:
    """What DCMTK's storescu says was acknowledged: its own log, one file after the other.

    Attributes
    ----------
    acknowledged
        Files with a response of status Success, in the order of their responses.
    """

    _SENDING = re.compile(r"Sending file: (.+)$")
    _SUCCESS = "Received Store Response (Success)"

    def __init__(self, executable: Path, port: int) -> None:
        self._command = [
            str(executable),
            "-v",
            "-aet",
            "MODALITY",
            "-aec",
            "RADDRAFT",
            "127.0.0.1",
            str(port),
        ]
        self.acknowledged: list[Path] = []

    def send(self, files: Sequence[Path], *, patience_s: float = 180.0) -> None:
        """Send until every file is acknowledged, beginning again after each broken association, as a modality does."""
        left, deadline = list(files), time.monotonic() + patience_s
        while left and time.monotonic() < deadline:
            done = subprocess.run(
                [*self._command, *map(str, left)],
                capture_output=True,
                text=True,
                check=False,
                env=_ENVIRONMENT,
                timeout=patience_s,
            )
            sent: Path | None = None
            for line in (done.stdout + done.stderr).splitlines():
                if match := self._SENDING.search(line):
                    sent = Path(match.group(1))
                elif self._SUCCESS in line and sent is not None:
                    self.acknowledged.append(sent)
            left = [file for file in left if file not in self.acknowledged]
            if left:
                time.sleep(0.3)
        assert not left, f"{len(left)} files were never acknowledged"


class LosesResponses:
    """A network that passes everything on and breaks `losses` connections just before their first C-STORE response.

    The far end has stored the object by then, and the sender cannot know it.
    """

    def __init__(self, port_behind: int, losses: int) -> None:
        self._behind = port_behind
        self.left = losses
        self._stop = Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(0.2)
        self.port = int(self._listening.getsockname()[1])
        self._thread = Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._listening.close()

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                client, _ = self._listening.accept()
            except TimeoutError:
                continue
            Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        server = socket.create_connection(("127.0.0.1", self._behind))
        up = Thread(target=self._copy, args=(client, server), daemon=True)
        up.start()
        with suppress(OSError), client, server:
            while data := server.recv(65536):
                # PS3.8, table 9-10: a P-DATA-TF PDU begins with 04H; from the far end that is a response.
                if data[0] == 0x04 and self.left > 0:
                    self.left -= 1
                    break
                client.sendall(data)
            for end in (client, server):
                end.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def _copy(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
