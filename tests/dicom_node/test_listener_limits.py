"""How much of the listener anybody may ask for: of all callers, of one peer, across processes, and of the disk."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian

from clinical import Transient
from dicom_node import Peer, PeerLimits, PosixSpool, RefusedCall, echo, send_objects
from dicom_node.shared_limits import SharedLimits
from tests.dicom_node.conftest import StartNode
from tests.dicom_node.crafted import as_file, crafted_dataset, encoded
from tests.dicom_node.raw_scu import associated, store_raw
from tests.dicom_node.test_listener_peers import rejection

_REPOSITORY = Path(__file__).resolve().parents[2]
_CR = [(ComputedRadiographyImageStorage, [ExplicitVRLittleEndian])]
_TEMPORARY_CONGESTION = (2, 3, 1)
_LOCAL_LIMIT_EXCEEDED = (2, 3, 2)


def test_fifty_associations_at_once_are_held_and_one_more_is_refused_for_now(start_node: StartNode) -> None:
    node = start_node(maximum_associations=50)
    with ExitStack() as stack:
        held = [stack.enter_context(associated(node.peer, _CR)) for _ in range(50)]
        assert all(association.is_established for association in held)
        assert rejection(node.peer, "MODALITY") == _LOCAL_LIMIT_EXCEEDED
    assert echo(node.peer, calling_ae_title="MODALITY") == 0x0000


def test_a_peer_has_its_own_limit_of_associations(start_node: StartNode) -> None:
    node = start_node(
        peers=(("MODALITY", "127.0.0.1", PeerLimits(associations_max=1)), ("PACS", "127.0.0.1"))
    )
    with associated(node.peer, _CR) as first:
        assert first.is_established
        assert rejection(node.peer, "MODALITY") == _LOCAL_LIMIT_EXCEEDED
        assert rejection(node.peer, "PACS") is None
    assert rejection(node.peer, "MODALITY") is None


def test_a_peer_that_calls_too_often_is_told_to_come_later(start_node: StartNode) -> None:
    limits = PeerLimits(associations_per_minute=3)
    node = start_node(peers=(("MODALITY", "127.0.0.1", limits), ("PACS", "127.0.0.1")))
    answers = [rejection(node.peer, "MODALITY") for _ in range(5)]
    assert answers[:3] == [None] * 3
    assert _TEMPORARY_CONGESTION in answers[3:]
    assert rejection(node.peer, "PACS") is None


def test_refused_calls_are_told_with_their_reason(start_node: StartNode) -> None:
    calls: list[RefusedCall] = []
    node = start_node(peers=(("MODALITY", "127.0.0.1"),), refused=calls.append)
    rejection(node.peer, "STRANGER")
    rejection(Peer("OTHER", node.peer.host, node.peer.port), "MODALITY")
    told = [(call.refusal.value, call.calling_ae_title, call.address) for call in calls]
    assert told == [
        ("calling-ae-title", "STRANGER", "127.0.0.1"),
        ("called-ae-title", "MODALITY", "127.0.0.1"),
    ]


_HOLD_TWO = """
import sys
from pathlib import Path
from dicom_node.shared_limits import SharedLimits
limits = SharedLimits(Path(sys.argv[1]), associations_max=3)
assert limits.enter() and limits.enter()
print("held", flush=True)
sys.stdin.readline()
"""


def test_limits_hold_across_processes_and_a_killed_one_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "limits"
    limits = SharedLimits(path, associations_max=3)
    other = subprocess.Popen(
        [sys.executable, "-c", _HOLD_TWO, str(path)],
        cwd=_REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        mine = limits.enter()
        assert mine is not None
        assert limits.enter() is None
    finally:
        other.kill()
        other.communicate()
    assert limits.enter() is not None and limits.enter() is not None and limits.enter() is None
    limits.leave(mine)
    assert limits.enter() is not None


def test_a_rate_holds_across_those_that_share_the_file(tmp_path: Path) -> None:
    peers = [PeerLimits(), PeerLimits(associations_per_minute=2)]
    first, second = (SharedLimits(tmp_path / "limits", associations_max=3, peers=peers) for _ in range(2))
    assert [first.may_call(1), second.may_call(1), first.may_call(1), second.may_call(1)] == [
        True,
        True,
        False,
        False,
    ]
    assert all(first.may_call(0) for _ in range(10))


class ShrinkingSpool(PosixSpool):
    """A spool whose disk another program fills."""

    free = 10_000

    def free_bytes(self) -> int:
        return self.free


def test_with_little_space_associations_and_objects_are_refused_for_now(
    start_node: StartNode, tmp_path: Path
) -> None:
    spool = ShrinkingSpool(tmp_path / "small")
    node = start_node(spool=spool, minimum_free_bytes=5_000)
    content = as_file(crafted_dataset())
    (result,) = send_objects([content], node.peer, calling_ae_title="MODALITY")
    assert result.status == 0x0000
    with associated(node.peer, _CR) as association:
        spool.free = 4_999
        dataset = crafted_dataset()
        uid = str(dataset.SOPInstanceUID)
        status = store_raw(association, encoded(dataset), sop_class_uid=_CR[0][0], sop_instance_uid=uid)
        assert status == 0xA700
        assert rejection(node.peer, "MODALITY") == _LOCAL_LIMIT_EXCEEDED
        with pytest.raises(Transient, match="local limit exceeded"):
            send_objects([content], node.peer, calling_ae_title="MODALITY")
        spool.free = 10_000
        assert rejection(node.peer, "MODALITY") is None
    assert len(list(spool.keys())) == 1 and node.ledger.receipts() == 1
