"""The sender: C-STORE and C-ECHO as an SCU, with the outcome of every object."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from pynetdicom.status import code_to_category

from clinical import Permanent, Transient

# PS3.8 section 9.3.2.2: presentation context IDs are odd and at most 255.
_CONTEXTS_PER_ASSOCIATION = 128
_UNCOMPRESSED = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)


@dataclass(frozen=True, slots=True)
class Peer:
    """An application entity to call."""

    ae_title: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class SendTimeouts:
    """Seconds after which a silent peer counts as gone: connecting, negotiating, answering."""

    connection_s: float = 10.0
    acse_s: float = 30.0
    dimse_s: float = 60.0


@dataclass(frozen=True, slots=True)
class SendResult:
    """What the peer said of one object.

    Attributes
    ----------
    status
        DIMSE status of the response; None where there was none.
    outcome
        ``"stored"``, ``"warning"`` (stored with a note, 0xBxxx), ``"failed"``, ``"not-negotiated"`` or ``"no-response"``.
    """

    sop_instance_uid: str
    status: int | None
    outcome: str
    detail: str = ""


def send_objects(
    objects: Sequence[Path | bytes | Dataset],
    peer: Peer,
    *,
    calling_ae_title: str,
    timeouts: SendTimeouts = SendTimeouts(),
) -> tuple[SendResult, ...]:
    """Send objects by C-STORE, each SOP class and transfer syntax on its own presentation context.

    A peer may then accept one class and refuse another, and every object has its own outcome (PS3.8 section 7.1.1.13).

    Raises
    ------
    Transient
        ``peer-unreachable`` or ``association-refused`` if no association could be made; nothing was sent.
    Permanent
        ``not-dicom`` if an object is no DICOM file.
    """
    read = [_read(item) for item in objects]
    contexts = sorted({(str(ds.SOPClassUID), str(ds.file_meta.TransferSyntaxUID)) for ds in read})
    results: dict[str, SendResult] = {}
    for start in range(0, len(contexts), _CONTEXTS_PER_ASSOCIATION):
        group = contexts[start : start + _CONTEXTS_PER_ASSOCIATION]
        chosen = [d for d in read if (str(d.SOPClassUID), str(d.file_meta.TransferSyntaxUID)) in group]
        for result in _send_group(chosen, group, peer, calling_ae_title, timeouts):
            results[result.sop_instance_uid] = result
    return tuple(results[str(dataset.SOPInstanceUID)] for dataset in read)


def _read(item: Path | bytes | Dataset) -> Dataset:
    try:
        dataset = (
            item if isinstance(item, Dataset) else dcmread(BytesIO(item) if isinstance(item, bytes) else item)
        )
        if not (dataset.SOPClassUID and dataset.SOPInstanceUID and dataset.file_meta.TransferSyntaxUID):
            raise ValueError
    except Exception as error:
        raise Permanent(
            "not-dicom", "an object to send is no DICOM file with SOP UIDs and a transfer syntax"
        ) from error
    return dataset


def _send_group(
    datasets: Sequence[Dataset],
    contexts: Sequence[tuple[str, str]],
    peer: Peer,
    calling_ae_title: str,
    timeouts: SendTimeouts,
) -> Iterator[SendResult]:
    ae = _application_entity(calling_ae_title, timeouts)
    for sop_class, syntax in contexts:
        proposed = _UNCOMPRESSED if syntax in _UNCOMPRESSED else (syntax,)
        ae.requested_contexts = [*ae.requested_contexts, build_context(sop_class, list(proposed))]
    association = _associate(ae, peer)
    try:
        for dataset in datasets:
            yield _send_one(association, dataset)
    finally:
        if association.is_established:
            association.release()


def _application_entity(calling_ae_title: str, timeouts: SendTimeouts) -> AE:
    ae = AE(ae_title=calling_ae_title)
    ae.connection_timeout = timeouts.connection_s
    ae.acse_timeout = timeouts.acse_s
    ae.dimse_timeout = timeouts.dimse_s
    ae.network_timeout = timeouts.dimse_s
    return ae


def _associate(ae: AE, peer: Peer) -> Association:
    handlers: list[Any] = [(evt.EVT_CONN_OPEN, _send_small_packets_at_once)]
    association = ae.associate(peer.host, peer.port, ae_title=peer.ae_title, evt_handlers=handlers)
    if association.is_established:
        return association
    if association.is_rejected:
        raise Transient(
            "association-refused", "the peer refused the association; check AE titles on both sides"
        )
    raise Transient(
        "peer-unreachable", "no association could be made with the peer; check host, port and network"
    )


def _send_small_packets_at_once(event: evt.Event) -> None:
    transport = event.assoc.dul.socket
    connection = transport.socket if transport is not None else None
    if connection is not None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _send_one(association: Association, dataset: Dataset) -> SendResult:
    uid = str(dataset.SOPInstanceUID)
    if not association.is_established:
        return SendResult(uid, None, "no-response", "the association ended before this object")
    try:
        response = association.send_c_store(dataset)
    except ValueError:
        return SendResult(uid, None, "not-negotiated", "no accepted presentation context for this SOP class")
    if "Status" not in response:
        return SendResult(
            uid, None, "no-response", "the peer gave no answer in time or closed the connection"
        )
    status = int(response.Status)
    category = code_to_category(status)
    outcome = {"Success": "stored", "Warning": "warning"}.get(category, "failed")
    return SendResult(uid, status, outcome, category.lower())


def echo(peer: Peer, *, calling_ae_title: str, timeouts: SendTimeouts = SendTimeouts()) -> int:
    """C-ECHO; the status of the response (0x0000 is success).

    Raises
    ------
    Transient
        If no association could be made or no answer came.
    """
    ae = _application_entity(calling_ae_title, timeouts)
    ae.add_requested_context(Verification)
    association = _associate(ae, peer)
    try:
        response = association.send_c_echo()
    finally:
        association.release()
    if "Status" not in response:
        raise Transient("peer-silent", "the peer accepted the association but did not answer the C-ECHO")
    return int(response.Status)
