"""The sender: C-STORE and C-ECHO as an SCU, with the outcome of every object."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from pynetdicom.status import code_to_category

from clinical import Transient
from dicom_node.file_format import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicom_node.library_words import silence_libraries
from dicom_node.outgoing import OutgoingObject, opened

# The library's switch for sending a file's bytes as they are; without it every data set is decoded and encoded again.
_config.STORE_SEND_CHUNKED_DATASET = True

# PS3.8 section 9.3.2.2: presentation context IDs are odd and at most 255.
_CONTEXTS_PER_ASSOCIATION = 128
_UNCOMPRESSED = (str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian))
# PS3.7 section 9.3.1.1: priority of the request.
_MEDIUM = 0
_MESSAGE_ID_MAX = 0xFFFF
_SUCCESS = 0x0000
# PS3.8 section 7.1.1.7: result of an association request.
_ACCEPTED = 0


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
        ``"stored"``; ``"warning"``: stored with a note (0xB000, 0xB006, 0xB007); ``"failed"``; ``"not-negotiated"``; or
        ``"no-response"``.
    detail
        What the status means, for an operator.
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
    tls: ssl.SSLContext | None = None,
) -> tuple[SendResult, ...]:
    """Send objects by C-STORE, each SOP class and transfer syntax on its own presentation context.

    A peer may then accept one class and refuse another, and every object has its own outcome (PS3.8 section 7.1.1.13).
    Data sets are sent byte for byte as they are stored, but an uncompressed one is encoded anew for a peer that takes
    only the other uncompressed syntax.

    Parameters
    ----------
    objects
        DICOM files, their contents, or data sets with file meta information.
    tls
        Context of a client where the peer speaks TLS.

    Returns
    -------
    tuple of SendResult
        One per object, in their order.

    Raises
    ------
    Transient
        ``peer-unreachable`` or ``association-refused`` if no association could be made for the first of the objects.
    Permanent
        ``not-dicom`` if an object is no DICOM file; nothing was sent.
    """
    silence_libraries()
    results: list[SendResult] = []
    with opened(objects) as outgoing:
        for group in _groups(outgoing):
            try:
                results.extend(_send_group(group, peer, calling_ae_title, timeouts, tls))
            except Transient as error:
                if not results:
                    raise
                results.extend(_no_response(item, error.message) for item in group)
    return tuple(results)


def _groups(outgoing: Sequence[OutgoingObject]) -> Iterator[list[OutgoingObject]]:
    """Objects in their order, split where one association has no more presentation contexts to offer."""
    group: list[OutgoingObject] = []
    contexts: set[tuple[str, str]] = set()
    for item in outgoing:
        more = contexts | _proposals(item)
        if len(more) > _CONTEXTS_PER_ASSOCIATION:
            yield group
            group, more = [], _proposals(item)
        group.append(item)
        contexts = more
    if group:
        yield group


def _proposals(item: OutgoingObject) -> set[tuple[str, str]]:
    stored = item.transfer_syntax_uid
    syntaxes = _UNCOMPRESSED if stored in _UNCOMPRESSED else (stored,)
    return {(item.sop_class_uid, syntax) for syntax in syntaxes}


def _send_group(
    group: Sequence[OutgoingObject],
    peer: Peer,
    calling_ae_title: str,
    timeouts: SendTimeouts,
    tls: ssl.SSLContext | None,
) -> list[SendResult]:
    proposed = sorted(set().union(*(_proposals(item) for item in group)))
    contexts = [build_context(sop_class, [syntax]) for sop_class, syntax in proposed]
    with associated(
        peer, contexts, calling_ae_title=calling_ae_title, timeouts=timeouts, tls=tls
    ) as association:
        accepted = {
            (str(context.abstract_syntax), str(context.transfer_syntax[0]))
            for context in association.accepted_contexts
        }
        return [
            _send_one(association, item, accepted, 1 + number % _MESSAGE_ID_MAX)
            for number, item in enumerate(group)
        ]


def application_entity(ae_title: str, timeouts: SendTimeouts) -> AE:
    """Our application entity; its library says nothing of what it handles from then on."""
    silence_libraries()
    ae = AE(ae_title=ae_title)
    ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    ae.connection_timeout = timeouts.connection_s
    ae.acse_timeout = timeouts.acse_s
    ae.dimse_timeout = timeouts.dimse_s
    ae.network_timeout = timeouts.dimse_s
    return ae


@contextmanager
def associated(
    peer: Peer,
    contexts: list[PresentationContext],
    *,
    calling_ae_title: str,
    timeouts: SendTimeouts,
    tls: ssl.SSLContext | None,
    handlers: Sequence[Any] = (),
    roles: Sequence[Any] = (),
) -> Iterator[Association]:
    """An association with a peer, released at the end; accepted, though perhaps without any of the contexts.

    Raises
    ------
    Transient
        ``peer-unreachable`` or ``association-refused``.
    """
    ae = application_entity(calling_ae_title, timeouts)
    association = _associate(ae, peer, contexts, tls, handlers=handlers, roles=roles)
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def _associate(
    ae: AE,
    peer: Peer,
    contexts: list[PresentationContext],
    tls: ssl.SSLContext | None,
    *,
    handlers: Sequence[Any],
    roles: Sequence[Any],
) -> Association:
    bound: list[Any] = [(evt.EVT_CONN_OPEN, _send_small_packets_at_once), *handlers]
    try:
        association = ae.associate(
            peer.host,
            peer.port,
            contexts,
            ae_title=peer.ae_title,
            ext_neg=list(roles),
            evt_handlers=bound,
            tls_args=(tls, peer.host) if tls is not None else None,
        )
    except OSError as error:
        raise Transient(
            "peer-unreachable", f"the peer's host name has no address: {error.strerror}"
        ) from error
    answer = cast(Any, association.acceptor.primitive)
    if association.is_established or (answer is not None and answer.result == _ACCEPTED):
        # Accepted without one presentation context, an association ends at once: the objects are not negotiated.
        return association
    if association.is_rejected:
        reason = f"{answer.result_str}: {answer.reason_str}".lower()
        raise Transient("association-refused", f"the peer refused the association ({reason})")
    raise Transient(
        "peer-unreachable", "no association could be made with the peer; check host, port and network"
    )


def _send_small_packets_at_once(event: evt.Event) -> None:
    transport = event.assoc.dul.socket
    connection = transport.socket if transport is not None else None
    if connection is not None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _send_one(
    association: Association, item: OutgoingObject, accepted: set[tuple[str, str]], message_id: int
) -> SendResult:
    if not _proposals(item) & accepted:
        return SendResult(
            item.sop_instance_uid, None, "not-negotiated", "the peer accepts no context for this SOP class"
        )
    if not association.is_established:
        return _no_response(item, "the association ended before this object")
    as_stored = (item.sop_class_uid, item.transfer_syntax_uid) in accepted
    try:
        # A path is sent as it is; a data set is encoded for the accepted context.
        payload = item.path if as_stored else dcmread(item.path)
        response = association.send_c_store(payload, msg_id=message_id, priority=_MEDIUM)
    except Exception as error:
        # The library's messages quote the data set; only the kind of failure is kept.
        return SendResult(
            item.sop_instance_uid, None, "failed", f"could not be encoded: {type(error).__name__}"
        )
    if "Status" not in response:
        return _no_response(item, "the peer gave no answer in time or closed the connection")
    return _judged(item, int(response.Status))


def _judged(item: OutgoingObject, status: int) -> SendResult:
    outcome = {"Success": "stored", "Warning": "warning"}.get(code_to_category(status), "failed")
    return SendResult(item.sop_instance_uid, status, outcome, _meaning(status))


def _meaning(status: int) -> str:
    """What a C-STORE status says (PS3.4 Table B.2-1, PS3.7 Annex C)."""
    exact = {
        _SUCCESS: "stored",
        0x0122: "SOP class not supported",
        0x0124: "not authorized",
        0xB000: "stored, data elements coerced",
        0xB006: "stored, elements discarded",
        0xB007: "stored, though the data set does not match its SOP class",
    }
    by_range = {0xA7: "out of resources", 0xA9: "data set does not match SOP class"}
    if status in exact:
        return exact[status]
    if status >> 12 == 0xC:
        return "cannot understand"
    return by_range.get(status >> 8, code_to_category(status).lower())


def _no_response(item: OutgoingObject, detail: str) -> SendResult:
    return SendResult(item.sop_instance_uid, None, "no-response", detail)


def echo(
    peer: Peer,
    *,
    calling_ae_title: str,
    timeouts: SendTimeouts = SendTimeouts(),
    tls: ssl.SSLContext | None = None,
) -> int:
    """C-ECHO; the status of the response (0x0000 is success).

    Raises
    ------
    Transient
        If no association could be made or no answer came.
    """
    contexts = [build_context(Verification, [ImplicitVRLittleEndian, ExplicitVRLittleEndian])]
    with associated(
        peer, contexts, calling_ae_title=calling_ae_title, timeouts=timeouts, tls=tls
    ) as association:
        try:
            response = association.send_c_echo()
        except (RuntimeError, ValueError) as error:
            raise Transient(
                "peer-silent", "the peer accepted the association but not the verification"
            ) from error
    if "Status" not in response:
        raise Transient("peer-silent", "the peer accepted the association but did not answer the C-ECHO")
    return int(response.Status)
