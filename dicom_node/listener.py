"""The DICOM listener: C-ECHO and durable C-STORE.

An object is answered 0x0000 only when its bytes and its row are on disk; every failure is answered by the table of
`clinical.errors` and leaves nothing behind.
"""

from __future__ import annotations

import hashlib
import logging
import socket
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from pynetdicom import AE, _config, evt
from pynetdicom.presentation import AllStoragePresentationContexts
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from pynetdicom.transport import ThreadedAssociationServer

from clinical import Permanent, Quarantine, RadDraftError, Transient, policy_of
from dicom_node.candidates import classify
from dicom_node.identification import read_identification, valid_uid
from dicom_node.peers import AllowedPeer, allowed
from dicom_node.received import Ledger, ReceivedObject
from dicom_node.spool import Spool

_log = logging.getLogger(__name__)

# pynetdicom writes UIDs, and at its debug level whole data sets, to its log: patient data.
logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)

SUCCESS = 0x0000
# PS3.4 Table B.2-1: the data set does not match the SOP Class (or instance) of the request.
DATASET_MISMATCH = 0xA900
# PS3.8 Table 9-21: rejected permanent, by the service user, calling AE title not recognised.
_CALLING_AE_NOT_RECOGNISED = (0x01, 0x01, 0x03)


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
        (AE title, host) of who may call; empty means this machine only.
    own_manufacturer
        Manufacturer by which our own results are known when they come back.
    maximum_pdu_bytes
        Longest P-DATA-TF we accept; larger than the usual 16 KiB because it halves the work per object.
    network_timeout_s, dimse_timeout_s, acse_timeout_s
        Silence after which an association is aborted: of the peer, within an operation, within negotiation.
    maximum_object_bytes
        Larger objects are refused.
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


class _InheritingServer(ThreadedAssociationServer):
    """An association server that may listen on a socket its process inherited."""

    inherited: socket.socket | None = None

    def server_bind(self) -> None:
        if self.inherited is None:
            super().server_bind()
            return
        if self.socket is not None:
            self.socket.close()
        self.socket = self.inherited
        self.socket.settimeout(None)
        self.server_address = self.socket.getsockname()

    def server_activate(self) -> None:
        if self.inherited is None:
            super().server_activate()

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        client, address = super().get_request()
        # Small responses must not wait for the peer's delayed acknowledgement.
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client, address


class Listener:
    """C-ECHO and C-STORE SCP.

    Parameters
    ----------
    settings
        How to listen.
    spool, ledger
        Where bytes and receipts go.
    listening_socket
        A bound and listening socket, e.g. inherited from a supervisor; without one the listener binds itself.
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
        self._spool = spool
        self._ledger = ledger
        self._socket = listening_socket
        self._peers = tuple(AllowedPeer(*peer) for peer in settings.peers)
        self._server: Any = None

    @property
    def port(self) -> int:
        """Port the listener is bound to; only after `start`."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Accept associations in background threads.

        Raises
        ------
        Permanent
            ``address-in-use`` if another program listens there.
        """
        # Private and future storage classes in any transfer syntax: a queue must not jam on a refused context.
        _config.UNRESTRICTED_STORAGE_SERVICE = True
        ae = self._application_entity()
        server_class = type("_Server", (_InheritingServer,), {"inherited": self._socket})
        handlers = [
            (evt.EVT_REQUESTED, self._screen),
            (evt.EVT_C_ECHO, lambda event: SUCCESS),
            (evt.EVT_C_STORE, self._store),
        ]
        try:
            self._server = ae.make_server(
                (self._settings.host, self._settings.port),
                evt_handlers=cast(Any, handlers),
                server_class=server_class,
            )
        except OSError as error:
            raise Permanent(
                "address-in-use",
                f"cannot listen on {self._settings.host}:{self._settings.port}: {error.strerror}",
                tag="node.port",
            ) from error
        ae._servers.append(self._server)
        threading.Thread(target=self._server.serve_forever, name="dicom-listener", daemon=True).start()

    def stop(self) -> None:
        """Accept no more; associations under way are aborted, and unacknowledged objects are sent again."""
        self._server.shutdown()

    def _application_entity(self) -> AE:
        settings = self._settings
        ae = AE(ae_title=settings.ae_title)
        ae.maximum_pdu_size = settings.maximum_pdu_bytes
        ae.maximum_associations = settings.maximum_associations
        ae.network_timeout = settings.network_timeout_s
        ae.dimse_timeout = settings.dimse_timeout_s
        ae.acse_timeout = settings.acse_timeout_s
        ae.require_called_aet = True
        ae.add_supported_context(Verification)
        for context in AllStoragePresentationContexts:
            ae.add_supported_context(cast(str, context.abstract_syntax))
        return ae

    def _screen(self, event: evt.Event) -> None:
        """Reject callers that are not on the list (PS3.8 section 9.3.4)."""
        association = event.assoc
        calling = str(cast(Any, association.requestor.primitive).calling_ae_title)
        address = str(association.requestor.address)
        if not allowed(self._peers, calling, address):
            _log.warning("association refused: caller is not on the list of peers")
            association.acse.send_reject(*_CALLING_AE_NOT_RECOGNISED)

    def _store(self, event: evt.Event) -> int:
        try:
            return self._receive(event)
        except RadDraftError as error:
            _log.warning("object refused: %s", error.code)
            return policy_of(error).dimse_status
        except Exception as error:
            # A defect, ours or a library's: its text may quote the data set, so only its type is kept.
            _log.error("object refused after an unexpected %s", type(error).__name__)
            return policy_of(Transient("defect", "")).dimse_status

    def _receive(self, event: evt.Event) -> int:
        request = cast(Any, event.request)
        sop_class_uid = str(request.AffectedSOPClassUID)
        sop_instance_uid = str(request.AffectedSOPInstanceUID)
        transfer_syntax_uid = str(event.context.transfer_syntax)
        dataset = event.encoded_dataset(include_meta=False)
        if len(dataset) > self._settings.maximum_object_bytes:
            raise Permanent("object-too-large", "the object is larger than node.maximum_object_bytes")
        header = read_identification(dataset, transfer_syntax_uid)
        if (header.get("SOPClassUID"), header.get("SOPInstanceUID")) != (sop_class_uid, sop_instance_uid):
            _log.warning("object refused: its SOP UIDs differ from the request's")
            return DATASET_MISMATCH
        study_uid, series_uid = (
            str(header.get("StudyInstanceUID", "")),
            str(header.get("SeriesInstanceUID", "")),
        )
        if not all(map(valid_uid, (sop_class_uid, sop_instance_uid, study_uid, series_uid))):
            raise Quarantine("invalid-uid", "a study, series or SOP UID is missing or no UID")
        digest = hashlib.sha256(transfer_syntax_uid.encode("ascii") + b"\0" + dataset).hexdigest()
        self._account(event, header, digest, transfer_syntax_uid)
        return SUCCESS

    def _account(self, event: evt.Event, header: Any, digest: str, transfer_syntax_uid: str) -> None:
        held = self._ledger.is_held(header.SOPInstanceUID, digest)
        key, file_sha256, size_bytes = "", "", 0
        if not held:
            entry = self._spool.put(event.encoded_dataset())
            key, file_sha256, size_bytes = entry.key, entry.file_sha256, entry.size_bytes
        requestor = event.assoc.requestor
        received = ReceivedObject(
            sop_instance_uid=header.SOPInstanceUID,
            sop_class_uid=header.SOPClassUID,
            study_instance_uid=header.StudyInstanceUID,
            series_instance_uid=header.SeriesInstanceUID,
            transfer_syntax_uid=transfer_syntax_uid,
            modality=str(header.get("Modality", ""))[:16],
            calling_ae_title=str(requestor.ae_title),
            called_ae_title=self._settings.ae_title,
            calling_host=str(requestor.address),
            dataset_sha256=digest,
            file_sha256=file_sha256,
            size_bytes=size_bytes,
            spool_key=key,
            ignored_reason=classify(header, own_manufacturer=self._settings.own_manufacturer),
            received_at_utc=datetime.now(UTC),
        )
        try:
            kept = self._ledger.commit(received)
        except BaseException:
            if key:
                self._spool.delete(key)
            raise
        if key and kept != key:
            # Another association brought the same object meanwhile: its file stands.
            self._spool.delete(key)
