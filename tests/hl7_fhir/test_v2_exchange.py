"""What an acknowledgement means, and that an answer is never taken for one to another message."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import pytest

from clinical import ErrorKind, Permanent, RadDraftError, Transient
from hl7_fhir.v2 import MllpClient, check_answer
from hl7_fhir.v2.mllp import FrameReader, framed

MESSAGE = b"MSH|^~\\&|A||B||20260102||ORU^R01|ID1|P|2.5.1\rPID|1||P1\r"


def ack(code: str, control_id: str = "ID1", error: str = "") -> bytes:
    lines = ["MSH|^~\\&|B||A||20260102||ACK|X1|P|2.5.1", f"MSA|{code}|{control_id}|text about Smith^John"]
    return "\r".join(lines + ([f"ERR||PID^1|{error}|E||||Smith"] if error else []) + [""]).encode()


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        (ack("AE"), ErrorKind.TRANSIENT, "hl7-error"),
        (ack("CE"), ErrorKind.TRANSIENT, "hl7-error"),
        (ack("AR"), ErrorKind.PERMANENT, "hl7-rejected"),
        (ack("CR"), ErrorKind.PERMANENT, "hl7-rejected"),
        (ack("ZZ"), ErrorKind.TRANSIENT, "hl7-answer-unclear"),
        (ack("AA", "OTHER"), ErrorKind.TRANSIENT, "hl7-answer-unclear"),
        (ack("AR", "OTHER"), ErrorKind.TRANSIENT, "hl7-answer-unclear"),
        (ack("AA", ""), ErrorKind.TRANSIENT, "hl7-answer-unclear"),
        (b"HTTP/1.1 400 Bad Request", ErrorKind.TRANSIENT, "hl7-answer-unclear"),
        (b"", ErrorKind.TRANSIENT, "hl7-answer-unclear"),
    ],
)
def test_every_other_answer_has_its_meaning(answer: bytes, kind: ErrorKind, code: str) -> None:
    with pytest.raises(RadDraftError) as caught:
        check_answer(answer, "ID1")
    assert (caught.value.kind, caught.value.code) == (kind, code)


@pytest.mark.parametrize("code", ["AA", "CA", "aa"])
def test_an_accepted_message_is_done(code: str) -> None:
    assert check_answer(ack(code), "ID1") == code.upper()


def test_the_receivers_words_are_never_quoted_but_its_error_number_is() -> None:
    with pytest.raises(Permanent, match=r"required field missing \(101\)") as caught:
        check_answer(ack("AR", error="101"), "ID1")
    assert "Smith" not in str(caught.value)
    with pytest.raises(Permanent) as caught:
        check_answer(ack("AR", error="Smith"), "ID1")
    assert "Smith" not in str(caught.value)


def test_messages_are_taken_whole_out_of_any_pieces() -> None:
    stream = b"noise" + framed(b"one") + framed(b"two\x0c") + b"\x0bthr"
    for size in (1, 2, 3, 7, len(stream)):
        reader = FrameReader()
        pieces = [stream[n : n + size] for n in range(0, len(stream), size)]
        assert [m for piece in pieces for m in reader.feed(piece)] == [b"one", b"two\x0c"]
    with pytest.raises(Permanent, match="hl7-too-large"):
        FrameReader(10).feed(b"\x0b" + b"x" * 11)


Answering = Callable[[socket.socket, bytes], None]


@contextmanager
def receiver(answers: Sequence[Answering]) -> Iterator[tuple[int, list[int]]]:
    """Answers each message in turn; its port, and the connection each message came by."""
    listening = socket.create_server(("127.0.0.1", 0))
    came_by: list[int] = []
    left = list(answers)

    def serve() -> None:
        number = 0
        while left:
            connection, _ = listening.accept()
            number += 1
            reader = FrameReader()
            # A client that closes with an answer unread resets the connection, which ends it as well as any other way.
            with connection, suppress(ConnectionResetError):
                while left and (data := connection.recv(4096)):
                    for message in reader.feed(data):
                        came_by.append(number)
                        left.pop(0)(connection, message)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1], came_by
    finally:
        thread.join(5)
        listening.close()


def accept(connection: socket.socket, message: bytes) -> None:
    control_id = message.split(b"|")[9].decode()
    connection.sendall(framed(ack("AA", control_id)))


def accept_and_end(connection: socket.socket, message: bytes) -> None:
    accept(connection, message)
    connection.shutdown(socket.SHUT_RDWR)


def say_nothing(connection: socket.socket, message: bytes) -> None:
    pass


def end(connection: socket.socket, message: bytes) -> None:
    connection.shutdown(socket.SHUT_RDWR)


def answer_twice(connection: socket.socket, message: bytes) -> None:
    accept(connection, message)
    accept(connection, message)


def test_one_connection_carries_messages_one_after_the_other() -> None:
    with receiver([accept] * 3) as (port, came_by):
        client = MllpClient("127.0.0.1", port)
        for _ in range(3):
            assert check_answer(client.exchange(MESSAGE), "ID1") == "AA"
        client.close()
    assert came_by == [1, 1, 1]


@pytest.mark.parametrize("first", [accept_and_end, answer_twice])
def test_a_connection_that_ended_or_an_answer_too_many_spoils_no_other_message(first: Answering) -> None:
    with receiver([first, accept]) as (port, came_by):
        client = MllpClient("127.0.0.1", port)
        client.exchange(MESSAGE)
        # What the receiver did after its answer must have reached us.
        threading.Event().wait(0.2)
        assert check_answer(client.exchange(MESSAGE.replace(b"ID1", b"ID2")), "ID2") == "AA"
        client.close()
    assert len(came_by) == 2


@pytest.mark.parametrize("silence", [say_nothing, end])
def test_without_an_answer_the_message_is_sent_again_over_a_new_connection(silence: Answering) -> None:
    with receiver([silence, accept]) as (port, came_by):
        client = MllpClient("127.0.0.1", port, timeout_s=0.5)
        with pytest.raises(Transient, match="hl7-no-answer"):
            client.exchange(MESSAGE)
        assert check_answer(client.exchange(MESSAGE), "ID1") == "AA"
        client.close()
    assert came_by == [1, 2]


def test_a_receiver_that_is_away_is_tried_later() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(Transient, match="hl7-unreachable"):
        MllpClient("127.0.0.1", port, timeout_s=1).exchange(MESSAGE)
