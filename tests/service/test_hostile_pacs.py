"""A PACS that refuses, hangs, is full, or closes in the middle: what waits for it arrives once it is well, once."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest
from pynetdicom import AE, evt

from dicom_node import Peer, PosixSpool, SendTimeouts
from service.book import Book, DeliveryState
from service.destinations import dicom_sender
from tests.service.test_comparing import radiograph
from tests.service.test_outbox import desk_of, told

_CR = "1.2.840.10008.5.1.4.1.1.1"
_QUICK = SendTimeouts(connection_s=1, acse_s=1, dimse_s=1)


@contextmanager
def pacs(port: int, status: int | None = 0x0000, *, title: str = "PACS") -> Iterator[list[str]]:
    """An archive on `port` that answers every C-STORE with `status`, or aborts without one; what it was sent."""
    seen: list[str] = []

    def store(event: evt.Event) -> int:
        seen.append(str(event.request.AffectedSOPInstanceUID))
        if status is None:
            event.assoc.abort()
        return status or 0x0000

    ae = AE(title)
    ae.require_called_aet = True
    ae.add_supported_context(_CR)
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    try:
        yield seen
    finally:
        server.shutdown()


@contextmanager
def hangs(port: int) -> Iterator[None]:
    """Accepts connections and never says a word."""
    held = []
    with socket.create_server(("127.0.0.1", port)) as listening:

        def accept() -> None:
            while True:
                try:
                    held.append(listening.accept()[0])
                except OSError:
                    return

        Thread(target=accept, daemon=True).start()
        yield
        listening.shutdown(socket.SHUT_RDWR)
    for connection in held:
        connection.close()


def full(port: int) -> object:
    return pacs(port, 0xA700)


def closes_in_the_middle(port: int) -> object:
    return pacs(port, None)


def refuses(port: int) -> object:
    return pacs(port, title="SOMEBODY")


@pytest.mark.parametrize(
    ("fault", "code", "status"),
    [
        (refuses, "association-refused", ""),
        (hangs, "peer-unreachable", ""),
        (full, "out-of-resources", "0xA700"),
        (closes_in_the_middle, "no-response", ""),
    ],
)
def test_a_result_arrives_once_when_the_pacs_is_well_again(
    book: Book, tmp_path: Path, fault: Callable[[int], object], code: str, status: str
) -> None:
    results = PosixSpool(tmp_path / "results")
    (delivery,) = told(book, results, ("pacs",), content=radiograph())
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    sender = dicom_sender(Peer("PACS", "127.0.0.1", port), "RADDRAFT", timeouts=_QUICK)
    desk = desk_of(book, results, {"pacs": sender})
    with fault(port):  # type: ignore[attr-defined]
        desk.deliver(delivery)
        desk.deliver(delivery)
    with pacs(port) as stored:
        desk.deliver(delivery)
        desk.deliver(delivery)
    detail = book.study("1.9.1")
    assert detail is not None
    (summary,) = detail.deliveries
    assert [(a.state, a.reason_code, a.status) for a in summary.log] == [
        (DeliveryState.PENDING, code, status),
        (DeliveryState.PENDING, code, status),
        (DeliveryState.DELIVERED, "", "0x0000"),
    ]
    assert len(stored) == 1
    assert detail.summary.state == "done"
