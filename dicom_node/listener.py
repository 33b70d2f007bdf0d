"""The DICOM listener: C-ECHO and durable C-STORE.

An object is answered 0x0000 only when its bytes and its row are on disk; every failure is answered by the table of
`clinical.errors` and leaves nothing behind.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from clinical import Permanent, RadDraftError, Transient, policy_of
from dicom_node.file_format import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicom_node.library_words import silence_libraries
from dicom_node.negotiation import storage_service_items, supported_contexts
from dicom_node.peers import AllowedPeer, allowed
from dicom_node.received import Ledger
from dicom_node.reception import (
    Caller,
    IncomingObject,
    Reception,
    SopClassMismatch,
)
from dicom_node.spool import Spool
from dicom_node.transport import AssociationListener, PduSocket

_log = logging.getLogger(__name__)

SUCCESS = 0x0000
# PS3.4 Table B.2-1: the data set does not match the SOP Class.
DATASET_DOES_NOT_MATCH = 0xA900
# PS3.7 section 9.1.1.1.4: MEDIUM 0000H, HIGH 0001H, LOW 0002H.
_PRIORITY_HIGH = 0x0001
# PS3.8 Table 9-21: result (1 permanent), source (1 service user), reason.
CALLING_AE_NOT_RECOGNISED = (0x01, 0x01, 0x03)
CALLED_AE_NOT_RECOGNISED = (0x01, 0x01, 0x07)
# LO: 64 characters (PS3.5 Table 6.2-1).
_COMMENT_LENGTH_MAX = 64
# Beyond the largest object we still take this much of a larger one, so that it can be answered with a status.
_OVERSIZE_BYTES = 16 << 20
_LOOK_EVERY_S = 0.1


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
        (AE title, host) of who may call; a host is an address, a network (CIDR) or a name. Empty means this machine
        only, under any AE title.
    own_manufacturer
        Manufacturer by which our own results are known when they come back.
    maximum_pdu_bytes
        Longest P-DATA-TF we accept; larger than the usual 16 KiB because it halves the work per object.
    maximum_associations
        More at once are refused as transient (local limit exceeded).
    network_timeout_s
        Silence after which an association is aborted, and the longest time one PDU may take.
    dimse_timeout_s, acse_timeout_s
        Longest wait within an operation, and for an association request on a new connection.
    maximum_object_bytes
        Larger objects are refused. Together with `maximum_associations` it bounds the listener's memory.
    drain_s
        Longest wait at stop for associations under way.
    """

    ae_title: str = "RADDRAFT"
    host: str = "127.0.0.1"
    port: int = 11112
    peers: tuple[tuple[str, str], ...] = ()
    own_manufacturer: str = "RadDraft"
    maximum_pdu_bytes: int = 131072
    maximum_associations: int = 32
    network_timeout_s: float = 60.0
    dimse_timeout_s: float = 60.0
    acse_timeout_s: float = 30.0
    maximum_object_bytes: int = 512 << 20
    drain_s: float = 5.0


class Listener:
    """C-ECHO and C-STORE SCP.

    Parameters
    ----------
    settings
        How to listen.
    spool, ledger
        Where bytes and receipts go.
    listening_socket
        A bound and listening socket, e.g. inherited from a supervisor; without one the listener binds itself. Several
        processes may listen on one such socket.
    """

    def __init__(
        self,
        settings: ListenerSettings,
        spool: Spool,
        ledger: Ledger,
        *,
        listening_socket: socket.socket | None = None,
    ) -> None:
        self._settings = settings
        self._socket = listening_socket
        self._peers = tuple(AllowedPeer(*peer) for peer in settings.peers)
        self._reception = Reception(
            spool,
            ledger,
            own_manufacturer=settings.own_manufacturer,
            object_bytes_max=settings.maximum_object_bytes,
        )
        self._ae: AE | None = None
        self._server: AssociationListener | None = None

    @property
    def port(self) -> int:
        """Port the listener is bound to; only after `start`."""
        if self._server is None:
            raise Permanent("not-listening", "the listener was not started")
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Accept associations in background threads.

        Raises
        ------
        Permanent
            ``address-in-use`` if another program listens there, ``address-not-usable`` if this machine has no such
            address or may not use the port.
        """
        silence_libraries()
        settings = self._settings
        self._ae = _application_entity(settings)
        try:
            self._server = cast(
                AssociationListener,
                self._ae.make_server(
                    self._address(),
                    evt_handlers=cast(Any, self._handlers()),
                    server_class=cast(Any, AssociationListener),
                    inherited=self._socket,
                    pdu_timeout_s=settings.network_timeout_s,
                    message_bytes_max=settings.maximum_object_bytes + _OVERSIZE_BYTES,
                ),
            )
        except OSError as error:
            code = "address-in-use" if error.errno == errno.EADDRINUSE else "address-not-usable"
            reason = error.strerror or os.strerror(error.errno or 0)
            raise Permanent(
                code, f"cannot listen on {settings.host}:{settings.port}: {reason}", tag="node.port"
            ) from error
        loop = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": _LOOK_EVERY_S},
            name="dicom-listener",
            daemon=True,
        )
        loop.start()

    def stop(self) -> None:
        """Accept no more, let associations under way finish for `drain_s`, then abort them.

        What was not acknowledged by then has left nothing behind, and its sender sends it again.
        """
        if self._server is None or self._ae is None:
            return
        self._server.shutdown()
        patience_ends_s = time.monotonic() + self._settings.drain_s
        while self._associations() and time.monotonic() < patience_ends_s:
            time.sleep(_LOOK_EVERY_S)
        for association in self._associations():
            association.abort()

    def _associations(self) -> list[Association]:
        return list(self._ae.active_associations) if self._ae is not None else []

    def _address(self) -> Any:
        return self._socket.getsockname() if self._socket else (self._settings.host, self._settings.port)

    def _handlers(self) -> list[tuple[evt.EventType, Callable[..., Any]]]:
        return [
            (evt.EVT_REQUESTED, self._screen),
            (evt.EVT_SOP_COMMON, _name_storage_services),
            (evt.EVT_REJECTED, self._note_rejection),
            (evt.EVT_DIMSE_RECV, _end_message),
            (evt.EVT_C_ECHO, lambda event: SUCCESS),
            (evt.EVT_C_STORE, self._store),
        ]

    def _screen(self, event: evt.Event) -> None:
        """Reject callers that are not on the list (PS3.8 section 9.3.4); offer the others what they ask for."""
        association = event.assoc
        try:
            permitted = self._permitted(association)
            if permitted:
                requested = association.requestor.requested_contexts
                association.acceptor.supported_contexts = supported_contexts(requested)
        except Exception as error:
            # The library would swallow this and go on to accept the caller.
            _log.error("association refused after an unexpected %s", type(error).__name__)
            permitted = False
        if not permitted:
            association.acse.send_reject(*CALLING_AE_NOT_RECOGNISED)
            association.kill()

    def _permitted(self, association: Association) -> bool:
        calling = str(cast(Any, association.requestor.primitive).calling_ae_title).strip()
        host = str(association.requestor.address)
        if allowed(self._peers, calling, host):
            return True
        _log.warning("association refused: %r at %s is not in node.peers", calling, host)
        return False

    def _note_rejection(self, event: evt.Event) -> None:
        request = cast(Any, event.assoc.requestor.primitive)
        _log.warning(
            "association of %r refused: called %r, or too many associations at once",
            str(request.calling_ae_title).strip(),
            str(request.called_ae_title).strip(),
        )

    def _store(self, event: evt.Event) -> Dataset:
        peer = str(event.assoc.requestor.ae_title)
        try:
            self._reception.receive(_incoming(event), self._caller(event))
        except RadDraftError as error:
            _log.warning("object from %r refused: %s %s", peer, error.code, error.tag)
            mismatch = isinstance(error, SopClassMismatch)
            return _answer(DATASET_DOES_NOT_MATCH if mismatch else policy_of(error).dimse_status, error.code)
        except Exception as error:
            # A defect, ours or a library's: its text may quote the data set, so only its type is kept.
            _log.error("object from %r refused after an unexpected %s", peer, type(error).__name__)
            return _answer(policy_of(Transient("defect", "")).dimse_status, "internal error")
        return _answer(SUCCESS, "")

    def _caller(self, event: evt.Event) -> Caller:
        requestor = event.assoc.requestor
        return Caller(
            ae_title=str(requestor.ae_title).strip(),
            host=str(requestor.address),
            called_ae_title=self._settings.ae_title,
        )


def _application_entity(settings: ListenerSettings) -> AE:
    ae = AE(ae_title=settings.ae_title)
    ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    ae.maximum_pdu_size = settings.maximum_pdu_bytes
    ae.maximum_associations = settings.maximum_associations
    ae.network_timeout = settings.network_timeout_s
    ae.dimse_timeout = settings.dimse_timeout_s
    ae.acse_timeout = settings.acse_timeout_s
    ae.require_called_aet = True
    # Storage contexts are added per association, as they are requested.
    ae.add_supported_context(Verification)
    return ae


def _name_storage_services(event: evt.Event) -> Any:
    return storage_service_items(event.assoc.requestor.requested_contexts)


def _end_message(event: evt.Event) -> None:
    transport = event.assoc.dul.socket
    connection = transport.socket if transport is not None else None
    if isinstance(connection, PduSocket):
        connection.message_ended()


def _incoming(event: evt.Event) -> IncomingObject:
    request = cast(Any, event.request)
    sop_class_uid = str(request.AffectedSOPClassUID)
    if sop_class_uid != str(event.context.abstract_syntax):
        raise SopClassMismatch(
            "sop-class-mismatch", "the request's SOP class is not its presentation context's"
        )
    return IncomingObject(
        sop_class_uid=sop_class_uid,
        sop_instance_uid=str(request.AffectedSOPInstanceUID),
        transfer_syntax_uid=str(event.context.transfer_syntax),
        dataset=event.encoded_dataset(include_meta=False),
        is_urgent=getattr(request, "Priority", None) == _PRIORITY_HIGH,
    )


def _answer(status: int, comment: str) -> Dataset:
    """A response's status, with a word for the log of the sender's administrator (PS3.7 section C.4)."""
    answer = Dataset()
    answer.Status = status
    if comment:
        answer.ErrorComment = comment[:_COMMENT_LENGTH_MAX]
    return answer
