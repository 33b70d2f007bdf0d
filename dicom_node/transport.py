"""The listener's end of TCP: an inherited or own listening socket, and connections that read whole PDUs."""

from __future__ import annotations

import socket
import time
from socketserver import BaseServer
from typing import Any

from pynetdicom.transport import ThreadedAssociationServer

# PS3.8 Table 9-11 and following: type, reserved byte, length of the rest in 4 bytes.
_PDU_HEADER_BYTES = 6
# The longest A-ASSOCIATE-RQ (128 contexts with every transfer syntax) stays below this; P-DATA-TF must obey our
# maximum length. What claims to be longer is no DICOM, or an attack on our memory.
_PDU_BYTES_MAX = 1 << 20


class PduTooLong(OSError):
    """A PDU claims more bytes than any that is allowed; the connection ends."""


class MessageTooLong(OSError):
    """A message has grown beyond what is accepted; the connection ends."""


class PduSocket(socket.socket):
    """A connection that hands over whole PDUs, of bounded length and within bounded time.

    pynetdicom reads a PDU's header, then its rest in pieces of 4096 bytes. This socket knows from the header how much
    the rest is, and returns all of it at once: one system call where there were 32, and one deadline per PDU, so that a
    peer that sends a byte now and then does not hold an association for ever.
    """

    def set_limits(self, *, pdu_timeout_s: float, message_bytes_max: int) -> None:
        """Limit the time one PDU may take and the bytes that may come before `message_ended` is called again."""
        self._pdu_timeout_s = pdu_timeout_s
        self._message_bytes_max = message_bytes_max
        self._message_bytes = 0
        self._header = bytearray()
        self._rest = 0
        self._deadline_s = 0.0
        self._broken = False

    def message_ended(self) -> None:
        """A message is complete: its bytes no longer count."""
        self._message_bytes = 0

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """The next bytes of the PDU under way; all of the rest of it once its header is known.

        Raises
        ------
        TimeoutError
            If the PDU has not come in time.
        PduTooLong, MessageTooLong
            If it, or the message, is longer than allowed.
        """
        if self._broken:
            return b""  # the library looks again before it hangs up; for it the peer is gone
        try:
            return self._receive_header(bufsize, flags) if self._rest == 0 else self._receive_rest(flags)
        except OSError:
            self._broken = True
            raise

    def _receive_header(self, bufsize: int, flags: int) -> bytes:
        if not self._header:
            self._deadline_s = time.monotonic() + self._pdu_timeout_s
        received = super().recv(min(bufsize, _PDU_HEADER_BYTES - len(self._header)), flags)
        self._header += received
        if len(self._header) == _PDU_HEADER_BYTES:
            self._rest = int.from_bytes(self._header[2:], "big")
            self._header.clear()
            self._message_bytes += self._rest
            if self._rest > _PDU_BYTES_MAX:
                raise PduTooLong("the peer announced a PDU longer than allowed")
            if self._message_bytes > self._message_bytes_max:
                raise MessageTooLong("the peer's message is longer than allowed")
        return received

    def _receive_rest(self, flags: int) -> bytes:
        wanted, self._rest = self._rest, 0
        buffer = bytearray(wanted)
        view = memoryview(buffer)
        while view:
            left_s = self._deadline_s - time.monotonic()
            if left_s <= 0:
                raise TimeoutError("the peer did not finish a PDU in time")
            self.settimeout(left_s)
            count = super().recv_into(view, 0, flags)
            if count == 0:
                break
            view = view[count:]
        self.settimeout(self._pdu_timeout_s)
        return bytes(memoryview(buffer)[: wanted - len(view)])


class AssociationListener(ThreadedAssociationServer):
    """Accepts associations on its own socket, or on one its process inherited and shares with others.

    Parameters
    ----------
    inherited
        A bound and listening socket; None to bind one here.
    pdu_timeout_s, message_bytes_max
        See `PduSocket.set_limits`.
    """

    def __init__(
        self,
        *args: Any,
        inherited: socket.socket | None,
        pdu_timeout_s: float,
        message_bytes_max: int,
        **kwargs: Any,
    ) -> None:
        self._inherited = inherited
        self._pdu_timeout_s = pdu_timeout_s
        self._message_bytes_max = message_bytes_max
        super().__init__(*args, **kwargs)

    def server_bind(self) -> None:
        """Bind, or take over the inherited socket."""
        if self._inherited is None:
            super().server_bind()
        else:
            if self.socket is not None:
                self.socket.close()
            self.socket = self._inherited
            self.server_address = self.socket.getsockname()
        # Of several processes that wake up for one connection only one gets it: the others must not block in accept.
        self._listening().settimeout(0.0)

    def server_activate(self) -> None:
        """Listen, unless the inherited socket does already."""
        if self._inherited is None:
            super().server_activate()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept one connection."""
        accepted, address = self._listening().accept()
        connection = PduSocket(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())
        # A response is one small packet; it must not wait for the peer's delayed acknowledgement.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(self._pdu_timeout_s)
        connection.set_limits(pdu_timeout_s=self._pdu_timeout_s, message_bytes_max=self._message_bytes_max)
        return connection, address

    def server_close(self) -> None:
        """Close our descriptor of the socket; other processes go on listening on theirs."""
        # Not the library's: it shuts the socket itself down, in every process that shares it.
        self._listening().close()

    def shutdown(self) -> None:
        """Accept no more, and close the socket."""
        BaseServer.shutdown(self)
        self.server_close()

    def _listening(self) -> socket.socket:
        if self.socket is None:
            raise OSError("the listening socket is closed")
        return self.socket
