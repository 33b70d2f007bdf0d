"""How many objects an archive says a study has: C-FIND at STUDY level (PS3.4 C.6.2.1, Study Root)."""

from __future__ import annotations

import ssl
from collections.abc import Iterable

from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
)

from clinical import Transient
from dicom_node.sender import Peer, SendTimeouts, associated

# PS3.4 C.4.1.1.4: a response that carries a match.
_PENDING = frozenset({0xFF00, 0xFF01})
_SUCCESS = 0x0000
_TIMEOUTS = SendTimeouts(connection_s=5.0, acse_s=10.0, dimse_s=15.0)


def images_in_archive(
    study_instance_uid: str,
    peer: Peer,
    *,
    calling_ae_title: str,
    tls: ssl.SSLContext | None = None,
    timeouts: SendTimeouts = _TIMEOUTS,
) -> int | None:
    """Number of Study Related Instances (0020,1208); None where the archive does not know the study or does not say.

    Raises
    ------
    Transient
        ``peer-unreachable``, ``association-refused``, ``find-not-negotiated`` or ``find-failed``.
    """
    model = StudyRootQueryRetrieveInformationModelFind
    contexts = [build_context(model, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])]
    with associated(
        peer, contexts, calling_ae_title=calling_ae_title, timeouts=timeouts, tls=tls
    ) as association:
        if not association.accepted_contexts:
            raise Transient("find-not-negotiated", "the archive accepts no Study Root query")
        try:
            return _answered(association.send_c_find(_asked(study_instance_uid), model))
        except (RuntimeError, ValueError) as error:
            raise Transient("find-failed", "the query for a study's objects could not be sent") from error


def _answered(answers: Iterable[tuple[Dataset | None, Dataset | None]]) -> int | None:
    found: int | None = None
    for status, match in answers:
        code = int(status.Status) if status and "Status" in status else None
        if code in _PENDING and match is not None:
            found = _number(match)
        elif code != _SUCCESS:
            raise Transient("find-failed", "the archive did not answer the query for a study's objects")
    return found


def _asked(study_instance_uid: str) -> Dataset:
    query = Dataset()
    query.QueryRetrieveLevel = "STUDY"
    query.StudyInstanceUID = study_instance_uid
    query.NumberOfStudyRelatedInstances = None
    return query


def _number(match: Dataset) -> int | None:
    try:
        return int(match.NumberOfStudyRelatedInstances)
    except (AttributeError, TypeError, ValueError):
        return None
