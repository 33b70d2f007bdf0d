"""Orthanc as a PACS that can be ill: refusing, hanging, full, cut off in the middle of an object, or losing objects."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

import httpx
from pynetdicom import AE, AllStoragePresentationContexts, evt

from tests.promises.far_ends import orthanc
from tests.promises.installation import free_port


class PacsFault(StrEnum):
    """What is wrong with the PACS, or with the network before it."""

    REFUSES = "refuses associations"
    HANGS = "accepts connections and never answers"
    FULL = "answers out of resources (0xA700)"
    CLOSES = "closes the connection in the middle of an object"
    LOSES = "accepts objects and loses them"


# PS3.8 section 9.3: PDU types, and an A-ASSOCIATE-RJ: transient, by the provider, local limit exceeded.
_ASSOCIATE_RQ, _P_DATA = 0x01, 0x04
_REJECTION = bytes.fromhex("03000000000400020302")

# Orthanc answers success where this says no, and keeps nothing.
_LUA = """
function ReceivedInstanceFilter(dicom, origin)
  local mark = io.open("{mark}", "r")
  if mark == nil then return true end
  mark:close()
  return false
end
"""


class FaultyNetwork:
    """Carries DICOM to a port behind it, PDU by PDU, as well or as ill as `fault` says.

    Parameters
    ----------
    full_port
        Somebody who is out of resources: takes the place of the one behind while that is the fault.
    """

    def __init__(self, port_behind: int, full_port: int) -> None:
        self.fault: PacsFault | None = None
        self._behind, self._full = port_behind, full_port
        self._stop, self._lock = Event(), Lock()
        self._open: set[socket.socket] = set()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(0.2)
        self.port = int(self._listening.getsockname()[1])
        self._thread = Thread(target=self._accept, daemon=True)
        self._thread.start()

    def set(self, fault: PacsFault | None) -> None:
        """Be ill in this way from now on; connections that hang are let go."""
        with self._lock:
            self.fault = fault
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._listening.close()
        self.set(None)

    def _accept(self) -> None:
        while not self._stop.is_set():
            with suppress(TimeoutError):
                client, _ = self._listening.accept()
                Thread(target=self._carry, args=(client, self.fault), daemon=True).start()

    def _carry(self, client: socket.socket, fault: PacsFault | None) -> None:
        with ExitStack() as stack, suppress(OSError):
            stack.enter_context(self._known(client))
            if fault in (PacsFault.REFUSES, PacsFault.HANGS):
                _pdu(client)
                if fault is PacsFault.REFUSES:
                    client.sendall(_REJECTION)
                client.recv(1)  # until the other side, or the end of the fault, closes it
                return
            port = self._full if fault is PacsFault.FULL else self._behind
            server = socket.create_connection(("127.0.0.1", port))
            stack.enter_context(self._known(server))
            Thread(target=_copy, args=(server, client), daemon=True).start()
            while pdu := _pdu(client):
                if pdu[0] == _P_DATA and self.fault is PacsFault.CLOSES:
                    server.sendall(pdu[: len(pdu) // 2])
                    return
                server.sendall(pdu)

    @contextmanager
    def _known(self, connection: socket.socket) -> Iterator[None]:
        with self._lock:
            self._open.add(connection)
        try:
            yield
        finally:
            with self._lock:
                self._open.discard(connection)
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()


def _pdu(source: socket.socket) -> bytes:
    """The next whole PDU; empty where the other side has closed."""
    head = _exactly(source, 6)
    if not head:
        return b""
    (length,) = struct.unpack(">I", head[2:6])
    return head + _exactly(source, length)


def _exactly(source: socket.socket, count: int) -> bytes:
    got = b""
    while len(got) < count:
        more = source.recv(count - len(got))
        if not more:
            return b""
        got += more
    return got


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


class FaultyPacs:
    """Orthanc behind a network that can be ill."""

    def __init__(self, client: httpx.Client, network: FaultyNetwork, folder: Path) -> None:
        self._client = client
        self._network = network
        self._losing = folder / "losing"

    @property
    def port(self) -> int:
        """Where the PACS is to be found."""
        return self._network.port

    @contextmanager
    def ill(self, fault: PacsFault) -> Iterator[None]:
        """Have this fault until the block ends."""
        if fault is PacsFault.LOSES:
            self._losing.touch()
        self._network.set(fault)
        try:
            yield
        finally:
            self._network.set(None)
            self._losing.unlink(missing_ok=True)

    def count(self) -> int:
        """How many objects it holds."""
        return len(self._client.get("/instances").json())

    def objects(self) -> dict[str, bytes]:
        """Every object's data set as it is stored, by SOP Instance UID.

        Raises
        ------
        AssertionError
            If an object is there twice.
        """
        found: dict[str, bytes] = {}
        for instance in self._client.get("/instances?expand").json():
            uid = instance["MainDicomTags"]["SOPInstanceUID"]
            assert uid not in found, "an object is in the PACS twice"
            found[uid] = data_set_of(self._client.get(f"/instances/{instance['ID']}/file").content)
        return found


def data_set_of(file: bytes) -> bytes:
    """A DICOM file without its meta information, which every store writes anew (PS3.10 section 7.1)."""
    # Preamble, prefix, and (0002,0000) with the length of the rest of its group.
    (length,) = struct.unpack_from("<I", file, 140)
    return file[144 + length :]


@contextmanager
def faulty_pacs(executable: Path, folder: Path, *, raddraft_port: int) -> Iterator[FaultyPacs]:
    """Orthanc with its faults, AE title ORTHANC; its storage commitment reports go to `raddraft_port`."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    lua = _LUA.replace("{mark}", str(folder / "losing"))
    with (
        orthanc(executable, folder, dicom_port=port, lua=lua, raddraft_port=raddraft_port) as client,
        _out_of_resources() as full_port,
    ):
        network = FaultyNetwork(port, full_port)
        try:
            yield FaultyPacs(client, network, folder)
        finally:
            network.close()


@contextmanager
def _out_of_resources() -> Iterator[int]:
    """Somebody who answers every C-STORE with 0xA700; its port."""
    ae = AE("ORTHANC")
    ae.supported_contexts = AllStoragePresentationContexts
    handlers: list[Any] = [(evt.EVT_C_STORE, lambda event: 0xA700)]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        yield int(server.socket.getsockname()[1])
    finally:
        server.shutdown()
