"""Retrieve as an SCU (PS3.4 section C.4): a study's radiographs by C-GET, or by C-MOVE to a destination of our own."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pydicom import Dataset
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
)
from pynetdicom import AE, build_role, evt
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from clinical import Permanent, RadDraftError, Transient, policy_of
from dicom_node.reception import IncomingObject
from dicom_node.sender import Peer, SendTimeouts, application_entity, associated

_SUCCESS = 0x0000
# PS3.4 Tables C.4-2 and C.4-3: success with failed sub-operations, such as objects we did not propose.
_SOME_FAILED = 0xB000
# PS3.4 Table C.4-2.
_DESTINATION_UNKNOWN = 0xA801
# PS3.4 Table B.2-1: cannot understand.
_NOT_ASKED_FOR = 0xC000
_STORAGE = (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    SecondaryCaptureImageStorage,
)
_SYNTAXES: list[str | UID] = [
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEG2000Lossless,
    RLELossless,
]
_PATIENCE = SendTimeouts()

Receive = Callable[[IncomingObject], object]
"""Takes one object in durably; what it raises is answered as a failure of that object."""


@dataclass(frozen=True, slots=True)
class MoveDestination:
    """Where an archive sends what it is asked to move: ours, and listening only while something is moved.

    Attributes
    ----------
    ae_title, host, port
        As the archive knows it; `host` is the address to bind.
    tls
        Context of a listener that speaks TLS; None for plain TCP.
    """

    ae_title: str
    host: str
    port: int
    tls: ssl.SSLContext | None = None


def get_study(
    peer: Peer,
    study_instance_uid: str,
    receive: Receive,
    *,
    calling_ae_title: str,
    tls: ssl.SSLContext | None = None,
    timeouts: SendTimeouts = _PATIENCE,
) -> int:
    """C-GET a study's radiographs; how many objects came.

    Raises
    ------
    Transient
        ``peer-unreachable``, ``association-refused`` or ``retrieve-failed``.
    """
    taken = _Taken(study_instance_uid, receive)
    contexts = [build_context(StudyRootQueryRetrieveInformationModelGet)]
    contexts += [build_context(uid, _SYNTAXES) for uid in _STORAGE]
    with associated(
        peer,
        contexts,
        calling_ae_title=calling_ae_title,
        timeouts=timeouts,
        tls=tls,
        handlers=[(evt.EVT_C_STORE, taken.store)],
        roles=[build_role(uid, scp_role=True) for uid in _STORAGE],
    ) as association:
        try:
            answers = association.send_c_get(
                _study_keys(study_instance_uid), StudyRootQueryRetrieveInformationModelGet
            )
            _require_end(answers, "C-GET")
        except (RuntimeError, ValueError):
            raise Transient("retrieve-failed", "the archive does not give studies by C-GET") from None
    return taken.count


def move_study(
    peer: Peer,
    study_instance_uid: str,
    receive: Receive,
    *,
    to: MoveDestination,
    calling_ae_title: str,
    tls: ssl.SSLContext | None = None,
    timeouts: SendTimeouts = _PATIENCE,
) -> int:
    """C-MOVE a study's radiographs to `to`, which listens until the archive says that it has ended.

    Only objects of this study are taken, and only from the archive's AE title; how many came.

    Raises
    ------
    Permanent
        ``move-destination-unknown``: the archive does not know `to`.
    Transient
        ``move-port-in-use``, ``peer-unreachable``, ``association-refused`` or ``retrieve-failed``.
    """
    taken = _Taken(study_instance_uid, receive)
    contexts = [build_context(StudyRootQueryRetrieveInformationModelMove)]
    with (
        _listening(to, peer.ae_title, taken, timeouts),
        associated(
            peer, contexts, calling_ae_title=calling_ae_title, timeouts=timeouts, tls=tls
        ) as association,
    ):
        try:
            answers = association.send_c_move(
                _study_keys(study_instance_uid), to.ae_title, StudyRootQueryRetrieveInformationModelMove
            )
            _require_end(answers, "C-MOVE")
        except (RuntimeError, ValueError):
            raise Transient("retrieve-failed", "the archive does not give studies by C-MOVE") from None
    return taken.count


class _Taken:
    """Takes in what comes of one study, and counts it."""

    def __init__(self, study_instance_uid: str, receive: Receive) -> None:
        self._study_instance_uid = study_instance_uid
        self._receive = receive
        self.count = 0

    def store(self, event: evt.Event) -> int:
        """Answer one C-STORE."""
        if _study_of(event) != self._study_instance_uid:
            return _NOT_ASKED_FOR
        request: Any = event.request
        incoming = IncomingObject(
            sop_class_uid=str(request.AffectedSOPClassUID),
            sop_instance_uid=str(request.AffectedSOPInstanceUID),
            transfer_syntax_uid=str(event.context.transfer_syntax),
            dataset=event.encoded_dataset(include_meta=False),
        )
        try:
            self._receive(incoming)
        except RadDraftError as error:
            return policy_of(error).dimse_status
        self.count += 1
        return _SUCCESS


def _study_of(event: evt.Event) -> str:
    try:
        return str(event.dataset.get("StudyInstanceUID", ""))
    except Exception:  # whatever a data set that cannot be decoded raises
        return ""


@contextmanager
def _listening(to: MoveDestination, caller: str, taken: _Taken, timeouts: SendTimeouts) -> Iterator[None]:
    ae: AE = application_entity(to.ae_title, timeouts)
    ae.require_called_aet = True
    ae.require_calling_aet = [caller]
    ae.supported_contexts = [build_context(uid, _SYNTAXES) for uid in _STORAGE]
    handlers: list[Any] = [(evt.EVT_C_STORE, taken.store)]
    try:
        server: Any = ae.start_server(
            (to.host, to.port), block=False, evt_handlers=handlers, ssl_context=to.tls
        )
    except OSError as error:
        raise Transient(
            "move-port-in-use", f"the move destination cannot listen on its port: {error.strerror}"
        ) from None
    try:
        yield
    finally:
        server.shutdown()


def _study_keys(study_instance_uid: str) -> Dataset:
    keys = Dataset()
    keys.QueryRetrieveLevel = "STUDY"
    keys.StudyInstanceUID = study_instance_uid
    return keys


def _require_end(answers: Iterator[tuple[Dataset, Dataset | None]], operation: str) -> None:
    last = None
    for status, _ in answers:
        last = status.get("Status")
    if last == _DESTINATION_UNKNOWN:
        raise Permanent(
            "move-destination-unknown", "the archive does not know priors.move.ae_title; register it there"
        )
    if last not in (_SUCCESS, _SOME_FAILED):
        raise Transient("retrieve-failed", f"the archive did not finish the {operation}")
