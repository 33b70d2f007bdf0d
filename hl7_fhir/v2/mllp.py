"""Minimal Lower Layer Protocol (HL7 implementation guide, appendix C): one message, then its answer."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
import time

from clinical import Permanent, Transient

START, END = b"\x0b", b"\x1c\r"
_LARGEST_ANSWER = 1 << 20


def framed(message: bytes) -> bytes:
    """The message in its frame.

    Raises
    ------
    Permanent
        ``hl7-framing`` if the message itself holds a character of the frame: it would end early, as another message.
    """
    if START in message or END[:1] in message:
        raise Permanent("hl7-framing", "the message holds a character that frames messages; it is not sent")
    return START + message + END


class FrameReader:
    """Takes messages out of a stream of bytes.

    Parameters
    ----------
    largest
        Bytes of one message from which on it is refused.
    """

    def __init__(self, largest: int = _LARGEST_ANSWER) -> None:
        self._largest = largest
        self._held = bytearray()
        self._looked_at = 0
        self._began_s = 0.0

    @property
    def in_message(self) -> bool:
        """Whether a message has begun and not ended."""
        return bool(self._held)

    @property
    def message_began_s(self) -> float:
        """When the message that has not ended began, by the monotonic clock."""
        return self._began_s

    def feed(self, data: bytes) -> list[bytes]:
        """Messages that are whole with `data`; bytes before a frame's start are skipped.

        Raises
        ------
        Permanent
            ``hl7-too-large``.
        """
        if not self._held:
            self._began_s = time.monotonic()
        self._held += data
        whole: list[bytes] = []
        while True:
            start = self._held.find(START)
            del self._held[: start if start >= 0 else len(self._held)]
            # An end may lie across two pieces; what was looked at before is not looked at again.
            end = self._held.find(END, max(self._looked_at - 1, 0))
            if (end if end >= 0 else len(self._held)) > self._largest:
                raise Permanent("hl7-too-large", "an HL7 message is larger than allowed")
            if end < 0:
                self._looked_at = len(self._held)
                return whole
            whole.append(bytes(self._held[1:end]))
            del self._held[: end + len(END)]
            self._looked_at = 0
            self._began_s = time.monotonic()


class MllpClient:
    """A connection to one receiver, kept open; one message is in flight at a time.

    Parameters
    ----------
    tls
        A context that verifies the receiver (IHE ATNA, ITI-19); None for plain TCP.
    timeout_s
        Longest wait for the connection, and for each answer.
    """

    def __init__(
        self, host: str, port: int, *, tls: ssl.SSLContext | None = None, timeout_s: float = 30.0
    ) -> None:
        self._address = (host, port)
        self._tls = tls
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._connection: socket.socket | None = None

    def exchange(self, message: bytes) -> bytes:
        """Send a message and return the answer to it.

        Without an answer the receiver may have the message all the same: it is sent again as it is, and its control ID
        (MSH-10) tells the receiver so.

        Raises
        ------
        Transient
            ``hl7-unreachable`` or ``hl7-no-answer``.
        Permanent
            ``hl7-framing``.
        """
        frame = framed(message)
        with self._lock:
            connection = self._usable() or self._connect()
            try:
                connection.sendall(frame)
                answer, *unasked = _read_answers(connection)
            except (OSError, Permanent) as error:
                # A late answer must never be taken for one to the next message: the connection is given up.
                self._close()
                raise Transient(
                    "hl7-no-answer", f"the receiver did not answer the message ({type(error).__name__})"
                ) from error
            if unasked:
                # A receiver that says more than it was asked for is not trusted with the next message.
                self._close()
            return answer

    def close(self) -> None:
        """End the connection."""
        with self._lock:
            self._close()

    def _usable(self) -> socket.socket | None:
        """The open connection, unless the receiver has ended it or said something unasked."""
        if self._connection is not None and select.select([self._connection], [], [], 0)[0]:
            self._close()
        return self._connection

    def _connect(self) -> socket.socket:
        try:
            connection = socket.create_connection(self._address, timeout=self._timeout_s)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                # A failed handshake closes the socket it was given.
                connection = self._tls.wrap_socket(connection, server_hostname=self._address[0])
        except OSError as error:
            raise Transient(
                "hl7-unreachable", f"the HL7 receiver cannot be reached ({type(error).__name__})"
            ) from error
        self._connection = connection
        return connection

    def _close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.close()
            self._connection = None


def _read_answers(connection: socket.socket) -> list[bytes]:
    reader = FrameReader()
    while True:
        data = connection.recv(65536)
        if not data:
            raise ConnectionError("the receiver closed the connection")
        whole = reader.feed(data)
        if whole:
            return list(whole)
