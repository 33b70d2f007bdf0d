"""What the listener agrees to in an association: every storage class there is, in whatever encoding it is offered.

Some archives stop a whole queue at the first refused presentation context, so none is refused for being unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.service_class import (
    NonPatientObjectStorageServiceClass,
    ServiceClass,
    StorageServiceClass,
)
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    Verification,
    uid_to_service_class,
)

_STORAGE_SERVICES = (StorageServiceClass, NonPatientObjectStorageServiceClass)
# JPEG (lossy processes), JPEG-LS near-lossless, JPEG 2000, HTJ2K, JPEG XL and every video (PS3.5 Annex A.4).
_LOSSY = frozenset(
    f"1.2.840.10008.1.2.4.{part}"
    for part in (50, 51, 52, 53, 54, 55, 56, 59, 60, 61, 62, 63, 64, 81, 91, 93, 203, 112)
)
_VIDEO = re.compile(r"MPEG|HEVC")


def is_storage_class(sop_class_uid: str) -> bool:
    """Whether objects of this class may be sent by C-STORE: known, retired, private and future storage classes."""
    service = uid_to_service_class(sop_class_uid)
    if service is not ServiceClass:
        return service in _STORAGE_SERVICES
    uid = UID(sop_class_uid)
    # PS3.6 Table A-1 names every public storage class so; what it does not name is private or newer than we are.
    return not uid.type or (uid.type == "SOP Class" and "Storage" in uid.name)


def is_patient_object(sop_class_uid: str) -> bool:
    """Whether objects of this class belong to a study (PS3.4 Annex GG lists those that do not)."""
    return uid_to_service_class(sop_class_uid) is not NonPatientObjectStorageServiceClass


def supported_contexts(
    requested: Iterable[PresentationContext], notices: Iterable[str] = ()
) -> list[PresentationContext]:
    """The contexts to support for an association in which these were requested.

    Verification and storage commitment in the uncompressed syntaxes, and each requested storage class in each
    requested transfer syntax.
    Where one context offers several, the caller's first one is taken, but one that loses information only after those
    that do not, and one that nobody knows last.

    Parameters
    ----------
    notices
        SOP classes by which this caller may tell of a study's images.
    """
    uncompressed: list[str | UID] = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
    verification = build_context(Verification, uncompressed)
    syntaxes: dict[str, dict[str, None]] = {}
    for context in requested:
        if context.abstract_syntax is not None and is_storage_class(context.abstract_syntax):
            offered = syntaxes.setdefault(context.abstract_syntax, {})
            offered.update(dict.fromkeys(context.transfer_syntax))
    storage = [build_context(uid, sorted(offered, key=_reluctance)) for uid, offered in syntaxes.items()]
    # Those who ask us to commit are SCUs; archives that answer us call as SCPs (PS3.4 J.3.3, role selection).
    commitment = build_context(StorageCommitmentPushModel, uncompressed)
    commitment.scu_role = commitment.scp_role = True
    told = [build_context(uid, uncompressed) for uid in sorted(notices)]
    return [verification, commitment, *told, *storage]


def _reluctance(transfer_syntax_uid: str) -> int:
    uid = UID(transfer_syntax_uid)
    if uid.is_private or not uid.is_transfer_syntax:
        return 2
    return int(uid in _LOSSY or _VIDEO.search(uid.name) is not None)
