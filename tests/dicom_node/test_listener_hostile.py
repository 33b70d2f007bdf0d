"""Peers that are no DICOM, never end, or want all our memory: they are cut off, and others are served meanwhile."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian
from pynetdicom.pdu_primitives import P_DATA

from dicom_node import echo
from tests.dicom_node.conftest import Node, StartNode
from tests.dicom_node.raw_scu import associated

_A_ASSOCIATE_RQ, _P_DATA_TF = 0x01, 0x04


@contextmanager
def connected(node: Node) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", node.listener.port), timeout=20) as connection:
        yield connection


def is_closed(connection: socket.socket) -> bool:
    """Whether the other side ends the connection, possibly after an A-ABORT."""
    try:
        while connection.recv(4096):
            pass
    except ConnectionError:
        pass
    return True


@pytest.mark.parametrize(
    "opening",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        struct.pack(">BBL", _A_ASSOCIATE_RQ, 0, 0xFFFFFFFF) + b"\0" * 100,
        struct.pack(">BBL", _P_DATA_TF, 0, 1 << 30) + b"\0" * 100,
        struct.pack(">BBL", _A_ASSOCIATE_RQ, 0, 68) + b"\xff" * 68,
        struct.pack(">BBL", _A_ASSOCIATE_RQ, 0, 0),
    ],
    ids=["http", "tls", "4-gigabyte-request", "gigabyte-data", "garbage-request", "empty-request"],
)
def test_what_is_no_dicom_is_cut_off(start_node: StartNode, opening: bytes) -> None:
    node = start_node(request_timeout_s=3.0)
    with connected(node) as connection:
        connection.sendall(opening)
        assert is_closed(connection)
    assert echo(node.peer, calling_ae_title="MODALITY") == 0x0000
    assert node.nothing_left()


def test_a_caller_that_says_nothing_is_cut_off(start_node: StartNode) -> None:
    node = start_node(request_timeout_s=1.0)
    with connected(node) as connection:
        assert is_closed(connection)


def test_a_caller_that_drips_bytes_is_cut_off(start_node: StartNode) -> None:
    node = start_node(network_timeout_s=1.0)
    stop = threading.Event()
    with connected(node) as connection:
        connection.sendall(struct.pack(">BBL", _A_ASSOCIATE_RQ, 0, 10_000))

        def drip() -> None:
            try:
                while not stop.wait(0.2):
                    connection.sendall(b"\0")
            except OSError:
                return

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            assert is_closed(connection)
        finally:
            stop.set()
            dripping.join()


def test_an_object_without_end_is_cut_off_before_it_fills_the_memory(start_node: StartNode) -> None:
    node = start_node(maximum_object_bytes=1 << 20)
    cr = [(ComputedRadiographyImageStorage, [ExplicitVRLittleEndian])]
    with associated(node.peer, cr) as association:
        # A command set that announces a data set, and then fragments of it that never end (PS3.8 Annex E).
        fragment = _data(b"\x00" + b"\0" * 60_000)
        association.dul.send_pdu(_data(b"\x03" + _store_request()))
        sent_bytes = 0
        ends_s = time.monotonic() + 30
        while association.is_established and time.monotonic() < ends_s and sent_bytes < 200 << 20:
            if association.dul.to_provider_queue.qsize() < 10:
                association.dul.send_pdu(fragment)
                sent_bytes += 60_000
            else:
                time.sleep(0.001)
        assert not association.is_established
        assert sent_bytes < 64 << 20
    assert echo(node.peer, calling_ae_title="MODALITY") == 0x0000
    assert node.nothing_left()


def test_an_object_that_comes_by_drops_is_cut_off_though_each_drop_is_in_time(start_node: StartNode) -> None:
    node = start_node(object_timeout_s=1.0, network_timeout_s=30.0)
    cr = [(ComputedRadiographyImageStorage, [ExplicitVRLittleEndian])]
    with associated(node.peer, cr) as association:
        association.dul.send_pdu(_data(b"\x03" + _store_request()))
        ends_s = time.monotonic() + 30
        while association.is_established and time.monotonic() < ends_s:
            association.dul.send_pdu(_data(b"\x00" + b"\0" * 100))
            time.sleep(0.1)
        assert not association.is_established
    assert echo(node.peer, calling_ae_title="MODALITY") == 0x0000
    assert node.nothing_left()


def _data(fragment: bytes) -> P_DATA:
    primitive = P_DATA()
    primitive.presentation_data_value_list = cast(Any, [[1, fragment]])
    return primitive


def _store_request() -> bytes:
    """A C-STORE-RQ command set (PS3.7 section 9.3.1.1), Implicit VR Little Endian."""

    def element(tag: int, value: bytes) -> bytes:
        return struct.pack("<HHL", 0, tag, len(value)) + value

    elements = b"".join(
        [
            element(0x0002, b"1.2.840.10008.5.1.4.1.1.1\0"),
            element(0x0100, struct.pack("<H", 0x0001)),
            element(0x0110, struct.pack("<H", 1)),
            element(0x0700, struct.pack("<H", 0)),
            element(0x0800, struct.pack("<H", 0x0001)),
            element(0x1000, b"1.2.3.4\0"),
        ]
    )
    return element(0x0000, struct.pack("<L", len(elements))) + elements


def test_a_sender_that_dies_in_the_middle_leaves_nothing(node: Node) -> None:
    cr = [(ComputedRadiographyImageStorage, [ExplicitVRLittleEndian])]
    with associated(node.peer, cr) as association:
        association.dul.send_pdu(_data(b"\x03" + _store_request()))
        for _ in range(2):
            association.dul.send_pdu(_data(b"\x00" + b"\0" * 60_000))
        association.abort()
    assert echo(node.peer, calling_ae_title="MODALITY") == 0x0000
    assert node.nothing_left()


def test_an_idle_association_is_ended(start_node: StartNode) -> None:
    node = start_node(network_timeout_s=1.0)
    cr = [(ComputedRadiographyImageStorage, [ExplicitVRLittleEndian])]
    with associated(node.peer, cr) as association:
        ends_s = time.monotonic() + 20
        while association.is_established and time.monotonic() < ends_s:
            time.sleep(0.05)
        assert not association.is_established
