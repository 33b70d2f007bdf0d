"""The durable receive of one object: on disk and in the account book before anybody hears "success".

Independent of the protocol the object came by.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from clinical import Permanent, Quarantine, Transient
from dicom_node.candidates import ignored_reason
from dicom_node.file_format import encoded_file_meta
from dicom_node.identification import Identification, read_identification, valid_uid
from dicom_node.negotiation import is_patient_object
from dicom_node.received import Ledger, ReceivedObject
from dicom_node.spool import Spool

# CS: 16 characters of this repertoire (PS3.5 Table 6.2-1).
_CODE_STRING = re.compile(r"[A-Z0-9_ ]{1,16}")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent an object, and as whom they called us."""

    ae_title: str
    host: str
    called_ae_title: str


@dataclass(frozen=True, slots=True)
class IncomingObject:
    """An object as its sender describes it, before anything is believed.

    Attributes
    ----------
    dataset
        Encoded data set without file meta information, exactly as sent.
    is_urgent
        Whether the C-STORE request's Priority is HIGH (PS3.7 section 9.1.1.1.4).
    """

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    dataset: bytes
    is_urgent: bool = False


class SopClassMismatch(Quarantine):
    """The data set is of another SOP class than the request says."""


class Reception:
    """Takes objects in.

    Parameters
    ----------
    own_manufacturer
        Manufacturer by which our own results are known when they come back.
    object_bytes_max
        Larger data sets are refused.
    """

    def __init__(self, spool: Spool, ledger: Ledger, *, own_manufacturer: str, object_bytes_max: int) -> None:
        self._spool = spool
        self._ledger = ledger
        self._own_manufacturer = own_manufacturer
        self._object_bytes_max = object_bytes_max

    def receive(self, incoming: IncomingObject, caller: Caller) -> ReceivedObject:
        """Store and account for an object; when this returns, success may be answered.

        Raises
        ------
        RadDraftError
            Whatever failed; then there is neither a file nor a row.
        """
        if len(incoming.dataset) > self._object_bytes_max:
            raise Permanent("object-too-large", "the object is larger than node.maximum_object_bytes")
        header = _checked_identification(incoming)
        dataset_sha256 = _dataset_sha256(incoming)
        if self._ledger.is_held(header.sop_instance_uid, dataset_sha256):
            return self._take_again(self._described(incoming, header, dataset_sha256, caller))
        return self._take(incoming, self._described(incoming, header, dataset_sha256, caller))

    def _take(self, incoming: IncomingObject, received: ReceivedObject) -> ReceivedObject:
        meta = encoded_file_meta(
            incoming.sop_class_uid, incoming.sop_instance_uid, incoming.transfer_syntax_uid
        )
        entry = self._spool.put((meta, incoming.dataset))
        stored = replace(
            received, spool_key=entry.key, file_sha256=entry.file_sha256, size_bytes=entry.size_bytes
        )
        try:
            kept = self._ledger.commit(stored)
        except BaseException:
            self._undo(stored)
            raise
        if kept != entry.key:
            # Another association brought the same object meanwhile: its file stands.
            self._spool.delete(entry.key)
            self._require_file(kept)
        return stored

    def _take_again(self, received: ReceivedObject) -> ReceivedObject:
        """One more receipt for an object that is held: no file is written."""
        self._require_file(self._ledger.commit(received))
        return received

    def _undo(self, stored: ReceivedObject) -> None:
        try:
            committed = self._ledger.is_held(stored.sop_instance_uid, stored.dataset_sha256)
        except Exception:
            # The book went silent in the middle of a commit: the row may be there. A file without a row costs a
            # sweep; a row without its file would acknowledge the sender's next try and lose the object.
            return
        if not committed:
            self._spool.delete(stored.spool_key)

    def _require_file(self, key: str) -> None:
        if not self._spool.holds(key):
            raise Transient(
                "spool-file-missing", "the book names a file the spool does not hold; run account"
            )

    def _described(
        self, incoming: IncomingObject, header: Identification, dataset_sha256: str, caller: Caller
    ) -> ReceivedObject:
        return ReceivedObject(
            sop_instance_uid=header.sop_instance_uid,
            sop_class_uid=header.sop_class_uid,
            study_instance_uid=header.study_instance_uid,
            series_instance_uid=header.series_instance_uid,
            transfer_syntax_uid=incoming.transfer_syntax_uid,
            modality=_code_string(header.modality),
            calling_ae_title=caller.ae_title,
            called_ae_title=caller.called_ae_title,
            calling_host=caller.host,
            dataset_sha256=dataset_sha256,
            file_sha256="",
            size_bytes=0,
            spool_key="",
            ignored_reason=ignored_reason(
                sop_class_uid=header.sop_class_uid,
                modality=header.modality,
                manufacturer=header.manufacturer,
                own_manufacturer=self._own_manufacturer,
            ),
            received_at_utc=datetime.now(UTC),
            is_urgent=incoming.is_urgent,
        )


def _checked_identification(incoming: IncomingObject) -> Identification:
    header = read_identification(incoming.dataset, incoming.transfer_syntax_uid)
    if header.sop_class_uid != incoming.sop_class_uid:
        raise SopClassMismatch("sop-class-mismatch", "data set and request name different SOP classes")
    if header.sop_instance_uid != incoming.sop_instance_uid:
        raise Quarantine("sop-instance-mismatch", "data set and request name different SOP instances")
    _require_uid(incoming.transfer_syntax_uid, "(0002,0010)")
    _require_uid(header.sop_class_uid, "(0008,0016)")
    _require_uid(header.sop_instance_uid, "(0008,0018)")
    if is_patient_object(header.sop_class_uid):
        _require_uid(header.study_instance_uid, "(0020,000D)")
        _require_uid(header.series_instance_uid, "(0020,000E)")
        return header
    # Hanging protocols, palettes and their like belong to no study, whatever stands there.
    return replace(header, study_instance_uid="", series_instance_uid="")


def _require_uid(text: str, tag: str) -> None:
    if not valid_uid(text):
        raise Quarantine("invalid-uid", "a UID is missing or malformed", tag=tag)


def _dataset_sha256(incoming: IncomingObject) -> str:
    digest = hashlib.sha256(incoming.transfer_syntax_uid.encode("ascii") + b"\0")
    digest.update(incoming.dataset)
    return digest.hexdigest()


def _code_string(text: str) -> str:
    upper = text.upper()
    return upper if _CODE_STRING.fullmatch(upper) else ""
