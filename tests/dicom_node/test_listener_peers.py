"""Who may talk to the listener: peers by AE title and host, the called AE title, and how the others are told."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from pynetdicom import AE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from clinical import Transient
from dicom_node import Peer, echo
from dicom_node.peers import AllowedPeer, allowed
from tests.dicom_node.conftest import Node, StartNode

_CALLED_AE_NOT_RECOGNISED = (1, 1, 7)
_CALLING_AE_NOT_RECOGNISED = (1, 1, 3)


def rejection(peer: Peer, calling_ae_title: str) -> tuple[int, int, int] | None:
    """(result, source, diagnostic) of the rejection; None if the association was accepted."""
    ae = AE(ae_title=calling_ae_title)
    ae.add_requested_context(Verification)
    association = ae.associate(peer.host, peer.port, ae_title=peer.ae_title)
    if association.is_established:
        association.release()
        return None
    assert association.is_rejected, "neither accepted nor rejected"
    answer = cast(Any, association.acceptor.primitive)
    return answer.result, answer.result_source, answer.diagnostic


def test_without_a_list_this_machine_may_call_under_any_title(node: Node) -> None:
    assert echo(node.peer, calling_ae_title="ANYBODY") == 0x0000


def test_another_called_title_is_rejected_as_such(node: Node) -> None:
    wrong = Peer("SOMEBODY", node.peer.host, node.peer.port)
    assert rejection(wrong, "MODALITY") == _CALLED_AE_NOT_RECOGNISED


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.0/8", "localhost"])
def test_a_listed_peer_may_call_from_its_address_network_or_name(start_node: StartNode, host: str) -> None:
    node = start_node(peers=(("PACS", "192.0.2.7"), ("MODALITY", host)))
    assert rejection(node.peer, "MODALITY") is None


@pytest.mark.parametrize(
    ("peers", "calling"),
    [
        ((("MODALITY", "127.0.0.1"),), "STRANGER"),
        ((("MODALITY", "127.0.0.1"),), "modality"),
        ((("MODALITY", "192.0.2.7"),), "MODALITY"),
        ((("MODALITY", "192.0.2.0/24"),), "MODALITY"),
        ((("MODALITY", "no-such-host.invalid"),), "MODALITY"),
    ],
)
def test_everybody_else_is_rejected_as_a_calling_title(
    start_node: StartNode, peers: tuple[tuple[str, str], ...], calling: str
) -> None:
    node = start_node(peers=peers)
    assert rejection(node.peer, calling) == _CALLING_AE_NOT_RECOGNISED
    with pytest.raises(Transient, match="calling ae title not recognised"):
        echo(node.peer, calling_ae_title=calling)


def test_many_rejections_leave_the_listener_open_for_peers(start_node: StartNode) -> None:
    node = start_node(peers=(("MODALITY", "127.0.0.1"),), maximum_associations=2)
    for _ in range(6):
        assert rejection(node.peer, "STRANGER") == _CALLING_AE_NOT_RECOGNISED
    assert echo(node.peer, calling_ae_title="MODALITY") == 0x0000


def test_an_empty_list_means_loopback_of_either_family_and_nobody_else() -> None:
    assert allowed((), "ANY", "127.0.0.1") and allowed((), "ANY", "::1")
    assert allowed((), "ANY", "::ffff:127.0.0.1")
    assert not allowed((), "ANY", "192.0.2.1") and not allowed((), "ANY", "::ffff:192.0.2.1")


def test_an_ipv4_peer_of_a_dual_stack_socket_is_recognised() -> None:
    assert AllowedPeer("PACS", "192.0.2.0/24").matches("PACS ", "::ffff:192.0.2.9")


@pytest.mark.interop
def test_echoscu_is_answered_under_the_right_title_only(
    program: Callable[[str], Path], start_node: StartNode
) -> None:
    node = start_node(peers=(("MODALITY", "127.0.0.1"),))

    def verify(calling: str, called: str) -> int:
        arguments = [
            str(program("echoscu")),
            "-aet",
            calling,
            "-aec",
            called,
            "127.0.0.1",
            str(node.listener.port),
        ]
        return subprocess.run(arguments, capture_output=True, timeout=60, check=False).returncode

    assert verify("MODALITY", "RADDRAFT") == 0
    assert verify("MODALITY", "OTHER") != 0
    assert verify("STRANGER", "RADDRAFT") != 0
