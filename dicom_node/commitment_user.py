"""Asking a peer to commit to what it stored, answering one that asked us, and reading back what it holds."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pydicom import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import build_role
from pynetdicom.association import Association
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
)

from clinical import Permanent, RadDraftError, Transient
from dicom_node.commitment import (
    PUSH_MODEL_CLASS_UID,
    PUSH_MODEL_INSTANCE_UID,
    REQUEST_COMMITMENT,
    CommitmentReport,
    CommitmentRequest,
    Reference,
    report_dataset,
    request_dataset,
)
from dicom_node.sender import Peer, SendTimeouts, associated

_SYNTAXES: list[str | UID] = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
_TIMEOUTS = SendTimeouts()
_SUCCESS = 0x0000

HeldObject = tuple[Reference, str, str]
"""An object that an archive should hold, with its study and series instance UIDs."""
# PS3.4 Table C.4-1: a match follows; it follows and some keys were not supported.
_PENDING = (0xFF00, 0xFF01)


def ask_commitment(
    request: CommitmentRequest,
    peer: Peer,
    *,
    calling_ae_title: str,
    timeouts: SendTimeouts = _TIMEOUTS,
    tls: ssl.SSLContext | None = None,
) -> None:
    """Ask a peer to commit (N-ACTION); its report comes to our listener.

    Raises
    ------
    Permanent
        ``no-commitment``: the peer does not offer the service.
    Transient
        If it cannot be reached or refuses for now.
    """
    unoffered = Permanent("no-commitment", "the peer does not offer storage commitment")
    dialling = _Dialling(peer, calling_ae_title, timeouts, tls)
    with _offered(dialling, StorageCommitmentPushModel, unoffered) as association:
        status, _ = association.send_n_action(
            request_dataset(request),
            REQUEST_COMMITMENT,
            StorageCommitmentPushModel,
            PUSH_MODEL_INSTANCE_UID,
        )
    _require_success(status, "the peer did not take the storage commitment request")


def report_commitment(
    report: CommitmentReport,
    peer: Peer,
    *,
    calling_ae_title: str,
    timeouts: SendTimeouts = _TIMEOUTS,
    tls: ssl.SSLContext | None = None,
) -> None:
    """Answer one who asked us, on an association of our own (N-EVENT-REPORT, PS3.4 J.3.3).

    Raises
    ------
    Transient
        If the peer cannot be reached or does not take the report.
    """
    # The requestor of this association is the SCP of the service (PS3.7 section D.3.3.4).
    roles = [build_role(PUSH_MODEL_CLASS_UID, scu_role=False, scp_role=True)]
    unoffered = Transient("report-refused", "the peer accepts no storage commitment report from us")
    dialling = _Dialling(peer, calling_ae_title, timeouts, tls)
    with _offered(dialling, StorageCommitmentPushModel, unoffered, roles) as association:
        status, _ = association.send_n_event_report(
            report_dataset(report),
            report.event_type,
            StorageCommitmentPushModel,
            PUSH_MODEL_INSTANCE_UID,
        )
    _require_success(status, "the peer did not take the storage commitment report")


def read_back(
    references: Sequence[HeldObject],
    peer: Peer,
    *,
    calling_ae_title: str,
    timeouts: SendTimeouts = _TIMEOUTS,
    tls: ssl.SSLContext | None = None,
) -> frozenset[str]:
    """SOP Instance UIDs of those objects a peer says it holds: C-FIND at IMAGE level (PS3.4 section C.6.2).

    Parameters
    ----------
    references
        Objects with their study and series instance UIDs.

    Raises
    ------
    Permanent
        ``no-query``: the peer does not offer the service.
    Transient
        If it cannot be reached or the query fails.
    """
    unoffered = Permanent("no-query", "the peer does not offer queries of the Study Root model")
    dialling = _Dialling(peer, calling_ae_title, timeouts, tls)
    with _offered(dialling, StudyRootQueryRetrieveInformationModelFind, unoffered) as association:
        return frozenset(
            reference.sop_instance_uid
            for reference, study_uid, series_uid in references
            if _holds(association, reference.sop_instance_uid, study_uid, series_uid)
        )


@dataclass(frozen=True, slots=True)
class _Dialling:
    """Whom to call, as whom and how."""

    peer: Peer
    calling_ae_title: str
    timeouts: SendTimeouts
    tls: ssl.SSLContext | None


@contextmanager
def _offered(
    dialling: _Dialling,
    sop_class: UID,
    unoffered: RadDraftError,
    roles: Sequence[Any] = (),
) -> Iterator[Association]:
    """An association for one SOP class, released at the end; raises `unoffered` where the peer does not accept it."""
    with associated(
        dialling.peer,
        [build_context(sop_class, _SYNTAXES)],
        calling_ae_title=dialling.calling_ae_title,
        timeouts=dialling.timeouts,
        tls=dialling.tls,
        roles=roles,
    ) as association:
        if not association.accepted_contexts:
            raise unoffered
        yield association


def _holds(association: Any, sop_instance_uid: str, study_uid: str, series_uid: str) -> bool:
    keys = Dataset()
    keys.QueryRetrieveLevel = "IMAGE"
    keys.StudyInstanceUID, keys.SeriesInstanceUID, keys.SOPInstanceUID = (
        study_uid,
        series_uid,
        sop_instance_uid,
    )
    found = False
    for status, match in association.send_c_find(keys, StudyRootQueryRetrieveInformationModelFind):
        code = status.get("Status") if status else None
        if code in _PENDING:
            found = found or (match is not None and match.get("SOPInstanceUID") == sop_instance_uid)
        else:
            _require_success(status, "the query failed")
    return found


def _require_success(status: Dataset | None, sentence: str) -> None:
    code = status.get("Status") if status else None
    if code != _SUCCESS:
        raise Transient("peer-refuses", f"{sentence} ({'no answer' if code is None else f'0x{code:04X}'})")
