"""The DICOM listener: C-ECHO and durable C-STORE.

An object is answered 0x0000 only when its bytes and its row are on disk; every failure is answered by the table of
`clinical.errors` and leaves nothing behind.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from clinical import Permanent
from dicom_node.acceptor import Acceptor, Terms
from dicom_node.admission import REJECTIONS, Admission, Refusal, RefusedCall
from dicom_node.association_request import AssociationRequest
from dicom_node.commitment_operations import CommitmentDesk, commitment_operations
from dicom_node.library_words import silence_libraries
from dicom_node.notice_operations import NoticeDesk, notice_operations
from dicom_node.operations import Operations, storage_operations
from dicom_node.pdu_stream import PduStream
from dicom_node.peers import AllowedPeer, matching
from dicom_node.received import Ledger
from dicom_node.reception import Reception
from dicom_node.shared_limits import Hold, SharedLimits
from dicom_node.spool import Spool
from dicom_node.tls import ServerTls, TlsFiles

_log = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.1
# Connections beyond the associations allowed, so that who comes too many is told so; more are closed unheard.
_WAITING_CONNECTIONS = 32
# A process that already holds associations lets another one that waits on the same socket be quicker.
_YIELD_PER_ASSOCIATION_S = 0.002
_YIELD_LONGEST_S = 0.02


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    """How the listener listens.

    Attributes
    ----------
    ae_title
        Called AE title, enforced.
    host, port
        Where to bind; port 0 takes a free one. Not used with an inherited socket.
    peers
        Who may call. Empty means this machine only, under any AE title.
    own_manufacturer
        Manufacturer by which our own results are known when they come back.
    maximum_pdu_bytes
        Longest P-DATA-TF we accept; larger than the usual 16 KiB because it halves the work per object.
    maximum_associations
        More at once are refused as transient (local limit exceeded).
    network_timeout_s
        Silence after which an association is aborted, and the longest time one PDU may take.
    request_timeout_s
        Longest wait for the association request on a new connection, and for its TLS handshake.
    object_timeout_s
        Longest time one object may take.
    maximum_object_bytes
        Larger objects are refused.
    minimum_free_bytes
        Space the spool keeps free: with less, associations are refused as transient and objects as out of resources.
    tls
        TLS with client certificates; None for plain TCP.
    limits_file
        File by which the limits hold across processes; None where there is one process only.
    drain_s
        Longest wait at stop for associations under way.
    """

    ae_title: str = "RADDRAFT"
    host: str = "127.0.0.1"
    port: int = 11112
    peers: tuple[AllowedPeer, ...] = ()
    own_manufacturer: str = "RadDraft"
    maximum_pdu_bytes: int = 131072
    maximum_associations: int = 32
    network_timeout_s: float = 60.0
    request_timeout_s: float = 30.0
    object_timeout_s: float = 1800.0
    maximum_object_bytes: int = 512 << 20
    minimum_free_bytes: int = 0
    tls: TlsFiles | None = None
    limits_file: Path | None = None
    drain_s: float = 5.0


class Listener:
    """C-ECHO and C-STORE SCP.

    The memory it needs is bounded by its associations: each holds one PDU (128 KiB, or up to 1 MiB from a peer that
    does not keep to what it was told) and no part of the object.

    Parameters
    ----------
    settings
        How to listen.
    spool, ledger
        Where bytes and receipts go.
    listening_socket
        A bound and listening socket, e.g. inherited from a supervisor; without one the listener binds itself. Several
        processes may listen on one such socket.
    refused
        Called with each call that was refused.
    commitment
        Who answers storage commitment; None to refuse it.
    notices
        Who keeps what peers tell of a study's images; None to hear nothing of it.

    Raises
    ------
    Permanent
        ``tls-unreadable`` if the certificates cannot be used.
    """

    def __init__(
        self,
        settings: ListenerSettings,
        spool: Spool,
        ledger: Ledger,
        *,
        listening_socket: socket.socket | None = None,
        refused: Callable[[RefusedCall], None] = lambda call: None,
        commitment: CommitmentDesk | None = None,
        notices: NoticeDesk | None = None,
    ) -> None:
        self._settings = settings
        self._socket = listening_socket
        self._refused = refused
        reception = Reception(
            spool,
            ledger,
            own_manufacturer=settings.own_manufacturer,
            object_bytes_max=settings.maximum_object_bytes,
            free_bytes_min=settings.minimum_free_bytes,
        )
        self._operations: Operations = {
            **storage_operations(reception, object_seconds_max=settings.object_timeout_s),
            **(commitment_operations(commitment) if commitment is not None else {}),
            **(notice_operations(notices) if notices is not None else {}),
        }
        self._hears_notices = notices is not None
        self._limits = SharedLimits(
            settings.limits_file,
            associations_max=settings.maximum_associations,
            peers=[peer.limits for peer in settings.peers],
        )
        self._admission = Admission(
            ae_title=settings.ae_title,
            peers=settings.peers,
            limits=self._limits,
            has_space=reception.has_space,
        )
        self._tls = ServerTls(settings.tls) if settings.tls is not None else None
        self._stopping = threading.Event()
        self._accepting: threading.Thread | None = None
        self._lock = threading.Lock()
        self._open: set[Acceptor] = set()
        self._connections = 0
        self._port = 0

    @property
    def port(self) -> int:
        """Port the listener is bound to; only after `start`."""
        if self._accepting is None:
            raise Permanent("not-listening", "the listener was not started")
        return self._port

    def start(self) -> None:
        """Accept associations in background threads.

        Raises
        ------
        Permanent
            ``address-in-use`` if another program listens there, ``address-not-usable`` if this machine has no such
            address or may not use the port.
        """
        silence_libraries()
        if self._socket is None:
            self._socket = _bound(self._settings.host, self._settings.port)
        # Of several processes that wake up for one connection only one gets it: the others must not block in accept.
        self._socket.settimeout(0.0)
        self._port = int(self._socket.getsockname()[1])
        self._accepting = threading.Thread(
            target=self._accept_all, args=(self._socket,), name="dicom-listener", daemon=True
        )
        self._accepting.start()

    def stop(self) -> None:
        """Accept no more, let associations under way finish for `drain_s`, then abort them.

        What was not acknowledged by then has left nothing behind, and its sender sends it again.
        """
        if self._accepting is None or self._stopping.is_set():
            return
        self._stopping.set()
        self._accepting.join()
        patience_ends_s = time.monotonic() + self._settings.drain_s
        while self._associations() and time.monotonic() < patience_ends_s:
            time.sleep(_LOOK_EVERY_S)
        for association in self._associations():
            association.end()

    def _associations(self) -> list[Acceptor]:
        with self._lock:
            return list(self._open)

    def _accept_all(self, listening: socket.socket) -> None:
        poll = select.poll()
        poll.register(listening, select.POLLIN)
        while not self._stopping.is_set():
            if not poll.poll(_LOOK_EVERY_S * 1000):
                continue
            busy = len(self._open)
            if busy:
                time.sleep(min(busy * _YIELD_PER_ASSOCIATION_S, _YIELD_LONGEST_S))
            try:
                connection, address = listening.accept()
            except OSError:
                continue  # another process was quicker, or the caller has gone
            self._take(connection, str(address[0]))
        # Our descriptor only: other processes go on listening on theirs.
        listening.close()

    def _take(self, connection: socket.socket, address: str) -> None:
        if self._connections >= self._settings.maximum_associations + _WAITING_CONNECTIONS:
            connection.close()
            self._refused(RefusedCall(Refusal.CONNECTIONS, address))
            return
        try:
            # A response is one small packet; it must not wait for the peer's delayed acknowledgement.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            connection.close()
            return
        with self._lock:
            self._connections += 1
        threading.Thread(
            target=self._serve, args=(connection, address), name="dicom-association", daemon=True
        ).start()

    def _serve(self, connection: socket.socket, address: str) -> None:
        try:
            secured = self._secured(connection, address)
            if secured is not None:
                self._hold(secured, address)
        finally:
            with self._lock:
                self._connections -= 1

    def _secured(self, connection: socket.socket, address: str) -> socket.socket | None:
        if self._tls is None:
            return connection
        # One deadline for the whole handshake.
        connection.settimeout(self._settings.request_timeout_s)
        try:
            return self._tls.context().wrap_socket(connection, server_side=True)
        except (OSError, ValueError) as error:
            _log.warning(
                "connection from %s refused: TLS handshake failed (%s)", address, type(error).__name__
            )
            self._refused(RefusedCall(Refusal.TLS, address))
            connection.close()
            return None

    def _hold(self, connection: socket.socket, address: str) -> None:
        settings = self._settings
        stream = PduStream(connection, buffer_bytes=settings.maximum_pdu_bytes)
        holds: list[Hold] = []
        acceptor = Acceptor(
            stream,
            address,
            Terms(settings.maximum_pdu_bytes, settings.request_timeout_s, settings.network_timeout_s),
            lambda request: self._screened(request, address, holds),
            self._operations,
            lambda command, caller: None,
            lambda request: self._notices_of(request, address),
        )
        with self._lock:
            self._open.add(acceptor)
        try:
            acceptor.run()
        finally:
            with self._lock:
                self._open.discard(acceptor)
            # The association is over: its place is free while the connection is being closed.
            self._admission.leave(holds)
            acceptor.close()

    def _notices_of(self, request: AssociationRequest, address: str) -> frozenset[str]:
        if not self._hears_notices:
            return frozenset()
        peers = self._settings.peers
        peer = matching(peers, request.calling_ae_title, address)
        return peers[peer].notices if peer is not None else frozenset()

    def _screened(
        self, request: AssociationRequest, address: str, holds: list[Hold]
    ) -> tuple[int, int, int] | None:
        decision = self._admission.admit(request, address)
        if not isinstance(decision, Refusal):
            holds.extend(decision)
            return None
        _log.warning("association of %r at %s refused: %s", request.calling_ae_title, address, decision)
        self._refused(RefusedCall(decision, address, request.calling_ae_title, request.called_ae_title))
        return REJECTIONS[decision]


def _bound(host: str, port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        code = "address-in-use" if error.errno == errno.EADDRINUSE else "address-not-usable"
        reason = error.strerror or os.strerror(error.errno or 0)
        raise Permanent(code, f"cannot listen on {host}:{port}: {reason}", tag="node.port") from error
    return listening
