"""The listening socket: bound here or inherited, shared by processes, and what stop does."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian

from clinical import Permanent, Transient
from dicom_node import Listener, ListenerSettings, Peer, PosixSpool, ReceivedObject, echo, send_objects
from tests.dicom_node.conftest import Node, StartNode
from tests.dicom_node.crafted import as_file, crafted_dataset
from tests.dicom_node.raw_scu import associated
from tests.dicom_node.sqlite_ledger import SqliteLedger

_REPOSITORY = Path(__file__).resolve().parents[2]
_LISTEN_ON_INHERITED = """
import socket, sys
from pathlib import Path
from dicom_node import Listener, ListenerSettings, PosixSpool
from tests.dicom_node.sqlite_ledger import SqliteLedger
folder = Path(sys.argv[2])
listener = Listener(
    ListenerSettings(), PosixSpool(folder / "spool"), SqliteLedger(folder / "ledger.sqlite"),
    listening_socket=socket.socket(fileno=int(sys.argv[1])),
)
listener.start()
print("listening", flush=True)
sys.stdin.readline()
listener.stop()
print("stopped", flush=True)
sys.stdin.readline()
"""


def listening_socket() -> socket.socket:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(64)
    return listening


def test_an_address_in_use_is_one_clear_line(node: Node, tmp_path: Path) -> None:
    settings = ListenerSettings(port=node.listener.port)
    second = Listener(settings, PosixSpool(tmp_path / "other"), SqliteLedger(tmp_path / "other.sqlite"))
    with pytest.raises(Permanent, match="address-in-use") as failure:
        second.start()
    assert str(node.listener.port) in failure.value.message and "\n" not in failure.value.message


def test_an_address_that_is_not_ours_is_one_clear_line(tmp_path: Path) -> None:
    settings = ListenerSettings(host="192.0.2.1", port=0)
    listener = Listener(settings, PosixSpool(tmp_path / "spool"), SqliteLedger(tmp_path / "ledger.sqlite"))
    with pytest.raises(Permanent, match="address-not-usable"):
        listener.start()


def test_processes_share_one_socket_and_one_stopping_leaves_the_others_listening(tmp_path: Path) -> None:
    listening = listening_socket()
    peer = Peer("RADDRAFT", "127.0.0.1", listening.getsockname()[1])
    descriptor = str(listening.fileno())
    arguments = [sys.executable, "-c", _LISTEN_ON_INHERITED, descriptor, str(tmp_path)]
    processes = [
        subprocess.Popen(
            arguments,
            cwd=_REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=[listening.fileno()],
            env={**os.environ, "PYTHONPATH": str(_REPOSITORY)},
        )
        for _ in range(2)
    ]
    try:
        outputs = [process.stdout for process in processes]
        inputs = [process.stdin for process in processes]
        assert all(output is not None and output.readline() == "listening\n" for output in outputs)
        contents = [as_file(crafted_dataset()) for _ in range(6)]
        for content in contents[:3]:
            assert send_objects([content], peer, calling_ae_title="MODALITY")[0].status == 0x0000
        assert inputs[0] is not None and outputs[0] is not None
        print(file=inputs[0], flush=True)
        assert outputs[0].readline() == "stopped\n"
        for content in contents[3:]:
            assert send_objects([content], peer, calling_ae_title="MODALITY")[0].status == 0x0000
        assert SqliteLedger(tmp_path / "ledger.sqlite").receipts() == 6
    finally:
        for process in processes:
            process.kill()
            process.communicate()
        listening.close()


class SlowLedger(SqliteLedger):
    """A ledger that waits in its commit until it may go on."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.entered, self.may_go_on = threading.Event(), threading.Event()

    def commit(self, received: ReceivedObject) -> str:
        self.entered.set()
        self.may_go_on.wait(20)
        return super().commit(received)


def test_stop_lets_an_object_under_way_finish_and_accepts_no_more(
    start_node: StartNode, tmp_path: Path
) -> None:
    ledger = SlowLedger(tmp_path / "ledger.sqlite")
    node = start_node(ledger=ledger, drain_s=20.0)
    statuses: list[int | None] = []

    def send() -> None:
        results = send_objects([as_file(crafted_dataset())], node.peer, calling_ae_title="MODALITY")
        statuses.extend(result.status for result in results)

    sending = threading.Thread(target=send)
    sending.start()
    assert ledger.entered.wait(20)
    stopping = threading.Thread(target=node.listener.stop)
    stopping.start()
    ledger.may_go_on.set()
    stopping.join(30)
    sending.join(30)
    assert statuses == [0x0000] and ledger.receipts() == 1
    with pytest.raises(Transient, match="peer-unreachable"):
        echo(node.peer, calling_ae_title="MODALITY")


def test_stop_ends_associations_that_do_not_end_themselves(start_node: StartNode) -> None:
    node = start_node(drain_s=0.2)
    cr = [(ComputedRadiographyImageStorage, [ExplicitVRLittleEndian])]
    with associated(node.peer, cr) as association:
        node.listener.stop()
        association.join(20)
        assert association.is_aborted
