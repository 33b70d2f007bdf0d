"""A listener for HL7 v2 over MLLP: who may call, how much and how slowly, and one answer after each commit."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from clinical import RadDraftError, Transient
from dicom_node import ServerTls
from dicom_node.peers import is_at, is_this_machine
from hl7_fhir.v2 import FrameReader, framed

_log = structlog.get_logger(__name__)

_CHUNK_BYTES = 1 << 16
_LOOK_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class Hl7Limits:
    """What one caller, and all callers together, may ask for.

    Attributes
    ----------
    peers
        Addresses, networks or names that may call; empty means this machine only.
    idle_timeout_s
        Silence between messages after which a connection is closed.
    message_timeout_s
        Longest time one message may take, and the TLS handshake.
    """

    peers: tuple[str, ...] = ()
    maximum_message_bytes: int = 16 << 20
    maximum_connections: int = 16
    idle_timeout_s: float = 3600.0
    message_timeout_s: float = 30.0

    def allows(self, address: str) -> bool:
        """Whether a caller from an IP address may send."""
        if not self.peers:
            return is_this_machine(address)
        return any(is_at(peer, address) for peer in self.peers)


class Hl7Listener:
    """Accepts connections on a bound socket; each is served by a thread of its own, one message after the other.

    Parameters
    ----------
    answer
        Acts on a message from an address and returns what is answered; a `RadDraftError` ends the connection without
        an answer, so that the sender sends again.
    tls
        Given, callers speak TLS and show a certificate of a known authority.
    """

    def __init__(
        self,
        listening: socket.socket,
        answer: Callable[[bytes, str], Sequence[bytes]],
        limits: Hl7Limits,
        tls: ServerTls | None = None,
    ) -> None:
        self._listening = listening
        self._answer = answer
        self._limits = limits
        self._tls = tls
        self._stop = threading.Event()
        self._free = threading.BoundedSemaphore(limits.maximum_connections)
        self._thread = threading.Thread(target=self._accept, name="hl7-accept", daemon=True)

    @property
    def state(self) -> tuple[bool, str]:
        """Whether anybody is accepted, and in words."""
        return (True, "listening") if self._thread.is_alive() else (False, "accepts nobody: restart it")

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._listening.getsockname()[1])

    def start(self) -> None:
        """Begin to accept."""
        self._listening.settimeout(_LOOK_EVERY_S)
        self._thread.start()

    def stop(self) -> None:
        """Accept nobody any more, and wait for the messages that are being acted on."""
        self._stop.set()
        self._thread.join()
        until_s = time.monotonic() + self._limits.message_timeout_s
        gone = [
            self._free.acquire(timeout=max(until_s - time.monotonic(), 0))
            for _ in range(self._limits.maximum_connections)
        ]
        for _ in filter(None, gone):
            self._free.release()

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                self._accept_one()
            except TimeoutError:
                continue
            except OSError as error:
                _log.warning("hl7_accept_failed", error=error.errno)
                self._stop.wait(_LOOK_EVERY_S)
            except Exception as error:
                # Such as no thread to be had: the next call may find one.
                _log.error("hl7_defect", error_type=type(error).__name__)
                self._stop.wait(_LOOK_EVERY_S)

    def _accept_one(self) -> None:
        connection, address = self._listening.accept()
        host = str(address[0])
        if not self._free.acquire(blocking=False):
            _log.warning("hl7_call_refused", reason="too-many-connections", host=host)
            connection.close()
            return
        try:
            threading.Thread(target=self._serve, args=(connection, host), name="hl7", daemon=True).start()
        except BaseException:
            connection.close()
            self._free.release()
            raise

    def _serve(self, connection: socket.socket, host: str) -> None:
        try:
            # Here and not where calls are accepted: a name server that does not answer keeps nobody else waiting.
            if not self._limits.allows(host):
                _log.warning("hl7_call_refused", reason="not-a-peer", host=host)
                return
            connection.settimeout(self._limits.message_timeout_s)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if self._tls is not None:
                connection = self._tls.context().wrap_socket(connection, server_side=True)
            self._converse(connection, host)
        except RadDraftError as error:
            _log.warning("hl7_connection_ended", code=error.code, host=host)
        except (OSError, ssl.SSLError) as error:
            _log.warning("hl7_connection_ended", code=type(error).__name__, host=host)
        except Exception as error:
            # A defect, ours or a library's: its text may quote the message, so only its type is kept.
            _log.error("hl7_defect", error_type=type(error).__name__)
        finally:
            connection.close()
            self._free.release()

    def _converse(self, connection: socket.socket, host: str) -> None:
        reader = FrameReader(self._limits.maximum_message_bytes)
        while (data := self._received(connection, reader)) is not None:
            for message in reader.feed(data):
                for answer in self._answer(message, host):
                    connection.sendall(framed(answer))

    def _received(self, connection: socket.socket, reader: FrameReader) -> bytes | None:
        """The next bytes; None at the connection's end or ours.

        Raises
        ------
        Transient
            ``hl7-too-slow`` for a message that does not end, or a connection on which nothing comes.
        """
        within = self._limits.message_timeout_s if reader.in_message else self._limits.idle_timeout_s
        started = reader.message_began_s if reader.in_message else time.monotonic()
        connection.settimeout(_LOOK_EVERY_S)
        while not self._stop.is_set():
            if time.monotonic() - started > within:
                raise Transient("hl7-too-slow", "no whole message came in time")
            try:
                data = connection.recv(_CHUNK_BYTES)
            except TimeoutError:
                continue
            connection.settimeout(self._limits.message_timeout_s)
            return data or None
        return None
