"""The HL7 listener: nobody who must not call is heard, nothing hostile stops it, TLS means both certificates."""

from __future__ import annotations

import random
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from clinical import Transient
from dicom_node import ServerTls, TlsFiles
from hl7_fhir.v2 import MllpClient, framed, parse_message
from service.hl7_listener import Hl7Limits, Hl7Listener
from tests.authorities import site_authority
from tests.service.hospital import Sender, oru

Answer = Callable[[bytes, str], Sequence[bytes]]


def echoed(message: bytes, host: str) -> list[bytes]:
    return [b"MSH|^~\\&|\rMSA|AA|" + message[:8].replace(b"|", b" ") + b"\r"]


@contextmanager
def listening(
    answer: Answer = echoed, limits: Hl7Limits | None = None, tls: ServerTls | None = None
) -> Iterator[Hl7Listener]:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        listener = Hl7Listener(bound, answer, limits or Hl7Limits(), tls)
        listener.start()
        try:
            yield listener
        finally:
            listener.stop()


def test_messages_of_one_connection_are_answered_in_order_however_they_come_in_pieces() -> None:
    seen: list[bytes] = []

    def answer(message: bytes, host: str) -> list[bytes]:
        seen.append(message)
        return [b"answer to " + message]

    with listening(answer) as listener:
        stream = b"junk" + b"".join(framed(b"message %d" % n) for n in range(5))
        with Sender(listener.port) as sender:
            for start in range(0, len(stream), 7):
                sender.send_raw(stream[start : start + 7])
            assert sender.answers(5) == [b"answer to message %d" % n for n in range(5)]
    assert seen == [b"message %d" % n for n in range(5)]


def test_random_bytes_and_half_frames_leave_it_standing() -> None:
    rng = random.Random(7)
    with listening() as listener:
        for _ in range(20):
            with Sender(listener.port) as sender:
                sender.send_raw(rng.randbytes(rng.randrange(1, 4000)))
        with Sender(listener.port) as half:
            half.send_raw(b"\x0b" + oru()[:40])
        with Sender(listener.port) as sender:
            sender.send(oru())
            assert len(sender.answers(1)) == 1


def test_a_message_too_large_too_slow_or_one_connection_too_many_ends_that_connection_alone() -> None:
    limits = Hl7Limits(maximum_message_bytes=2000, maximum_connections=2, message_timeout_s=1.0)
    with listening(limits=limits) as listener, Sender(listener.port) as held:
        held.send(oru())
        assert held.answers(1)
        with Sender(listener.port) as large:
            large.send_raw(b"\x0b" + b"x" * 4000)
            assert large.answers(1) == []
        with Sender(listener.port) as slow:
            slow.send_raw(b"\x0bMSH|")
            with Sender(listener.port) as third:
                assert third.answers(1) == []
            assert slow.answers(1) == []
        held.send(oru())
        assert held.answers(1)


def test_silence_between_messages_ends_a_connection() -> None:
    with listening(limits=Hl7Limits(idle_timeout_s=0.5)) as listener, Sender(listener.port) as sender:
        assert sender.answers(1) == []


def test_nobody_but_the_sites_peers_is_heard() -> None:
    with listening(limits=Hl7Limits(peers=("10.0.0.0/8",))) as listener, Sender(listener.port) as sender:
        assert sender.answers(1) == []
    assert Hl7Limits(peers=("10.0.0.0/8", "192.168.1.5")).allows("192.168.1.5")
    assert not Hl7Limits().allows("192.168.1.5")
    assert Hl7Limits().allows("127.0.0.1")


def test_a_peers_name_that_is_none_or_is_not_answered_keeps_nobody_else_from_being_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with listening(limits=Hl7Limits(peers=("a..b", "127.0.0.1"))) as listener:
        with Sender(listener.port) as sender:
            sender.send(oru())
            assert len(sender.answers(1)) == 1
        assert listener.state == (True, "listening")
    asked, answered = threading.Event(), threading.Event()

    def slow(self: Hl7Limits, address: str) -> bool:
        if not asked.is_set():
            asked.set()
            answered.wait(20)
        return True

    monkeypatch.setattr(Hl7Limits, "allows", slow)
    with listening() as listener, Sender(listener.port) as first:
        first.send(oru())
        assert asked.wait(20)
        with Sender(listener.port) as second:
            second.send(oru())
            assert len(second.answers(1)) == 1
        answered.set()
        assert len(first.answers(1)) == 1


def test_a_call_for_which_there_is_no_thread_ends_alone_and_its_place_is_free_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start, tries = threading.Thread.start, []

    def scarce(thread: threading.Thread) -> None:
        if thread.name == "hl7":
            tries.append(thread)
            if len(tries) <= 2:
                raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", scarce)
    with listening(limits=Hl7Limits(maximum_connections=1)) as listener:
        for _ in range(2):
            with Sender(listener.port) as sender:
                assert sender.answers(1) == []
        with Sender(listener.port) as sender:
            sender.send(oru())
            assert len(sender.answers(1)) == 1
        assert listener.state == (True, "listening")
    assert listener.state[0] is False


def test_what_could_not_be_written_is_not_answered_and_its_sender_may_come_again() -> None:
    tries: list[bytes] = []

    def answer(message: bytes, host: str) -> list[bytes]:
        tries.append(message)
        if len(tries) == 1:
            raise Transient("book-unavailable", "away")
        if len(tries) == 2:
            raise ValueError("a defect that quotes Smith^John")
        return [b"done"]

    with listening(answer) as listener:
        for expected in ([], [], [b"done"]):
            with Sender(listener.port) as sender:
                sender.send(oru())
                assert sender.answers(1) == expected


def test_tls_needs_the_sites_authority_on_both_sides(tmp_path: Path) -> None:
    files = site_authority(tmp_path)
    tls = ServerTls(TlsFiles(files / "server.pem", files / "server.key", files / "ca.pem"))

    def client(cert: bool) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(files / "ca.pem"))
        if cert:
            context.load_cert_chain(files / "client.pem", files / "client.key")
        return context

    with listening(tls=tls) as listener:
        known = MllpClient("localhost", listener.port, tls=client(cert=True), timeout_s=10)
        assert parse_message(known.exchange(oru())).first("MSA").component(1) == "AA"
        known.close()
        for context in (client(cert=False), None):
            with pytest.raises(Transient, match="hl7-"):
                MllpClient("localhost", listener.port, tls=context, timeout_s=5).exchange(oru())


def test_its_end_waits_for_the_message_that_is_being_acted_on() -> None:
    begun, go_on = threading.Event(), threading.Event()
    ended: list[str] = []

    def answer(message: bytes, host: str) -> list[bytes]:
        begun.set()
        go_on.wait(20)
        ended.append("acted")
        return [b"done"]

    with listening(answer) as listener, Sender(listener.port) as sender:
        sender.send(oru())
        assert begun.wait(20)
        threading.Timer(0.3, go_on.set).start()
        listener.stop()
        assert ended == ["acted"]
        assert sender.answers(1) == [b"done"]
