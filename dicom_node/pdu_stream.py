"""A connection that hands over whole PDUs (PS3.8 section 9.3), of bounded length and within bounded time."""

from __future__ import annotations

import socket
import ssl
import struct
import time
from enum import IntEnum

# PS3.8 Table 9-11 and following: type, reserved byte, length of the rest in 4 bytes.
_HEADER = struct.Struct(">BxL")
# The longest A-ASSOCIATE-RQ (128 contexts with every transfer syntax) stays below this; P-DATA-TF must obey our
# maximum length. What claims to be longer is no DICOM, or an attack on our memory.
_PDU_BYTES_MAX = 1 << 20


class PduType(IntEnum):
    """PS3.8 section 9.3.1."""

    A_ASSOCIATE_RQ = 0x01
    A_ASSOCIATE_AC = 0x02
    A_ASSOCIATE_RJ = 0x03
    P_DATA_TF = 0x04
    A_RELEASE_RQ = 0x05
    A_RELEASE_RP = 0x06
    A_ABORT = 0x07


class ConnectionEnded(OSError):
    """The peer has closed the connection, or was too slow or too long-winded to keep it."""


class PduStream:
    """Reads and sends PDUs.

    Every PDU is read into one buffer that the next one overwrites: an association needs no more memory for a gigabyte
    than for a kilobyte. The timeout holds for a PDU's header and for its rest, not for each byte, so that a peer that
    sends a byte now and then does not hold an association for ever.

    Parameters
    ----------
    connection
        Plain or TLS, connected.
    buffer_bytes
        Longest PDU that needs no larger buffer.
    """

    def __init__(self, connection: socket.socket, *, buffer_bytes: int) -> None:
        self._connection = connection
        self._is_tls = isinstance(connection, ssl.SSLSocket)
        self._buffer = bytearray(max(buffer_bytes, _HEADER.size))
        self._timeout_s = 0.0

    def set_timeout(self, timeout_s: float) -> None:
        """Longest wait for a PDU's header, for its rest, and for the peer to take what is sent."""
        self._timeout_s = timeout_s
        if self._is_tls:
            self._connection.settimeout(timeout_s)
            return
        # A blocking descriptor with the kernel's own timeouts: one system call reads a whole PDU.
        self._connection.settimeout(None)
        seconds = int(timeout_s)
        timeval = struct.pack("ll", seconds, int((timeout_s - seconds) * 1e6))
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self._connection.setsockopt(socket.SOL_SOCKET, option, timeval)

    def read(self) -> tuple[int, memoryview]:
        """Type and content of the next PDU; the content is valid until the next call.

        Raises
        ------
        ConnectionEnded
            If there is none, it has not come in time, or it claims to be longer than any that is allowed.
        """
        view = memoryview(self._buffer)
        self._fill(view[: _HEADER.size])
        kind, length = _HEADER.unpack_from(self._buffer)
        if length > _PDU_BYTES_MAX:
            raise ConnectionEnded("the peer announced a PDU longer than allowed")
        if length > len(self._buffer):
            self._buffer = bytearray(length)
            view = memoryview(self._buffer)
        self._fill(view[:length])
        return kind, view[:length]

    def _fill(self, view: memoryview) -> None:
        try:
            if self._is_tls:
                self._fill_by_pieces(view)
            elif view and self._connection.recv_into(view, 0, socket.MSG_WAITALL) < len(view):
                raise ConnectionEnded("the peer closed the connection or did not finish a PDU in time")
        except OSError as error:
            raise ConnectionEnded(f"reading from the peer failed: {type(error).__name__}") from error

    def _fill_by_pieces(self, view: memoryview) -> None:
        ends_s = time.monotonic() + self._timeout_s
        while view:
            left_s = ends_s - time.monotonic()
            if left_s <= 0:
                raise ConnectionEnded("the peer did not finish a PDU in time")
            self._connection.settimeout(left_s)
            count = self._connection.recv_into(view)
            if count == 0:
                raise ConnectionEnded("the peer closed the connection")
            view = view[count:]
        self._connection.settimeout(self._timeout_s)

    def send(self, pdu: bytes) -> None:
        """Send one or more encoded PDUs.

        Raises
        ------
        ConnectionEnded
            If the peer does not take them in time.
        """
        try:
            self._connection.sendall(pdu)
        except OSError as error:
            raise ConnectionEnded(f"sending to the peer failed: {type(error).__name__}") from error

    def shut_down(self) -> None:
        """End the connection under whoever reads from it; callable from another thread."""
        try:
            socket.socket.shutdown(self._connection, socket.SHUT_RDWR)
        except OSError:
            return  # it has ended already

    def await_close(self, timeout_s: float) -> None:
        """Wait until the peer has closed its end; what it still sends is not looked at."""
        ends_s = time.monotonic() + timeout_s
        try:
            while (left_s := ends_s - time.monotonic()) > 0:
                self._connection.settimeout(left_s)
                if not self._connection.recv_into(self._buffer):
                    return
        except OSError:
            return

    def close(self) -> None:
        """Close our end."""
        self._connection.close()


def encoded_pdu(kind: PduType, content: bytes) -> bytes:
    """A PDU with its header."""
    return _HEADER.pack(kind, len(content)) + content


def rejection_pdu(result: int, source: int, reason: int) -> bytes:
    """A-ASSOCIATE-RJ (PS3.8 Table 9-21)."""
    return encoded_pdu(PduType.A_ASSOCIATE_RJ, bytes((0, result, source, reason)))


def abort_pdu(source: int, reason: int) -> bytes:
    """A-ABORT (PS3.8 Table 9-26)."""
    return encoded_pdu(PduType.A_ABORT, bytes((0, 0, source, reason)))


RELEASE_RESPONSE = encoded_pdu(PduType.A_RELEASE_RP, bytes(4))
