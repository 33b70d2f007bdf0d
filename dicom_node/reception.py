"""The durable receive of one object: on disk and in the account book before anybody hears "success".

Independent of the protocol the object came by.
"""

from __future__ import annotations

import mmap
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from clinical import Permanent, Quarantine, Transient
from dicom_node.candidates import ignored_reason
from dicom_node.digests import DigestAlgorithm, as_known, digest_of
from dicom_node.file_format import META_BYTES_MAX, encoded_file_meta, read_file_meta
from dicom_node.header_walk import Encoded
from dicom_node.identification import Identification, read_identification, valid_uid
from dicom_node.negotiation import is_patient_object
from dicom_node.received import KnownObject, Ledger, ReceivedObject
from dicom_node.spool import Spool, SpoolWriter
from dicom_node.spool_writer import SpoolEntry

# Of an object that is held already.
_NO_FILE = SpoolEntry("", "", 0)
# CS: 16 characters of this repertoire (PS3.5 Table 6.2-1).
_CODE_STRING = re.compile(r"[A-Z0-9_ ]{1,16}")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent an object, and as whom they called us."""

    ae_title: str
    host: str
    called_ae_title: str


@dataclass(frozen=True, slots=True)
class AnnouncedObject:
    """What a sender says of an object before its bytes come; nothing of it is believed.

    Attributes
    ----------
    is_urgent
        Whether the C-STORE request's Priority is HIGH (PS3.7 section 9.1.1.1.4).
    study_instance_uid
        Study it must belong to; empty for any.
    """

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    is_urgent: bool = False
    study_instance_uid: str = ""


@dataclass(frozen=True, slots=True)
class IncomingObject(AnnouncedObject):
    """An object that has come whole.

    Attributes
    ----------
    dataset
        Encoded data set without file meta information, exactly as sent.
    """

    dataset: bytes = b""


class SopClassMismatch(Quarantine):
    """The data set is of another SOP class, or another study, than the request says."""


class Reception:
    """Takes objects in.

    Parameters
    ----------
    own_manufacturer
        Manufacturer by which our own results are known when they come back.
    object_bytes_max
        Larger data sets are refused.
    free_bytes_min
        Space the spool keeps free: with less, nothing is taken in.
    set_aside_as
        Reason of `ignored_sentence` for which nothing that comes this way is read; empty to go by the header.
    """

    def __init__(
        self,
        spool: Spool,
        ledger: Ledger,
        *,
        own_manufacturer: str,
        object_bytes_max: int,
        free_bytes_min: int = 0,
        set_aside_as: str = "",
    ) -> None:
        self._spool = spool
        self._ledger = ledger
        self._own_manufacturer = own_manufacturer
        self._object_bytes_max = object_bytes_max
        self._free_bytes_min = free_bytes_min
        self._set_aside_as = set_aside_as

    def has_space(self) -> bool:
        """Whether objects are taken in at all just now."""
        return self._spool.free_bytes() >= self._free_bytes_min

    def receive(self, incoming: IncomingObject, caller: Caller) -> ReceivedObject:
        """Store and account for an object; when this returns, success may be answered.

        Raises
        ------
        RadDraftError
            Whatever failed; then there is neither a file nor a row.
        """
        with self.begin(incoming, caller) as arriving:
            arriving.write(incoming.dataset)
            return arriving.finish()

    def begin(self, announced: AnnouncedObject, caller: Caller) -> ArrivingObject:
        """Start to take in an object whose bytes come piece by piece.

        Raises
        ------
        RadDraftError
            If it is refused by what is announced, or there is no space.
        """
        for text in (announced.transfer_syntax_uid, announced.sop_class_uid, announced.sop_instance_uid):
            _require_uid(text)
        if not self.has_space():
            raise Transient("spool-full", "the spool's disk has less than node.minimum_free_bytes left")
        meta = encoded_file_meta(
            announced.sop_class_uid, announced.sop_instance_uid, announced.transfer_syntax_uid
        )
        writer = self._spool.begin()
        writer.write(meta)
        return ArrivingObject(self, announced, caller, writer, len(meta))

    @property
    def object_bytes_max(self) -> int:
        """Longest data set that is taken in."""
        return self._object_bytes_max

    def account_for(
        self, announced: AnnouncedObject, caller: Caller, writer: SpoolWriter, meta_bytes: int
    ) -> ReceivedObject:
        """Store and account for what has been written; see `receive`."""
        content = writer.content()
        header = _checked_identification(announced, content[meta_bytes:])
        known = self._ledger.known(header.sop_instance_uid)
        digest = as_known(writer.digest(), content, [each.digest for each in known])
        if KnownObject(digest, has_file=True) in known:
            writer.discard()
            return self._take_again(self._described(announced, header, digest, caller, _NO_FILE))
        entry = writer.complete()
        return self._take(self._described(announced, header, digest, caller, entry))

    def describe(self, key: str) -> ReceivedObject:
        """What lies in the spool under `key`, as it would have been accounted for; nothing is written.

        Raises
        ------
        Quarantine
            If it is no object of ours.
        """
        with self._spool.open(key) as file:
            meta = read_file_meta(file.read(META_BYTES_MAX))
            # Mapped, not read: a file may be as large as objects are allowed to be.
            content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        dataset = content[meta.dataset_starts :]
        header = read_identification(dataset, meta.transfer_syntax_uid)
        announced = AnnouncedObject(header.sop_class_uid, header.sop_instance_uid, meta.transfer_syntax_uid)
        known = [each.digest for each in self._ledger.known(header.sop_instance_uid)]
        digest = as_known(digest_of(content, DigestAlgorithm.BLAKE3), content, known)
        entry = SpoolEntry(key, digest, len(content))
        return self._described(
            announced, _checked_identification(announced, dataset), digest, Caller("", "", ""), entry
        )

    def _take(self, stored: ReceivedObject) -> ReceivedObject:
        try:
            kept = self._ledger.commit(stored)
        except BaseException:
            self._undo(stored)
            raise
        if kept != stored.spool_key:
            # Another association brought the same object meanwhile: its file stands.
            self._spool.delete(stored.spool_key)
            self._require_file(kept)
        return stored

    def _take_again(self, received: ReceivedObject) -> ReceivedObject:
        """One more receipt for an object that is held: no file is written."""
        self._require_file(self._ledger.commit(received))
        return received

    def _undo(self, stored: ReceivedObject) -> None:
        try:
            known = self._ledger.known(stored.sop_instance_uid)
        except Exception:
            # The book went silent in the middle of a commit: the row may be there. A file without a row costs a
            # sweep; a row without its file would acknowledge the sender's next try and lose the object.
            return
        if KnownObject(stored.digest, has_file=True) not in known:
            self._spool.delete(stored.spool_key)

    def _require_file(self, key: str) -> None:
        if not self._spool.holds(key):
            raise Transient(
                "spool-file-missing", "the book names a file the spool does not hold; run account"
            )

    def _described(
        self,
        announced: AnnouncedObject,
        header: Identification,
        digest: str,
        caller: Caller,
        file: SpoolEntry,
    ) -> ReceivedObject:
        return ReceivedObject(
            sop_instance_uid=header.sop_instance_uid,
            sop_class_uid=header.sop_class_uid,
            study_instance_uid=header.study_instance_uid,
            series_instance_uid=header.series_instance_uid,
            transfer_syntax_uid=announced.transfer_syntax_uid,
            modality=_code_string(header.modality),
            calling_ae_title=caller.ae_title,
            called_ae_title=caller.called_ae_title,
            calling_host=caller.host,
            digest=digest,
            size_bytes=file.size_bytes,
            spool_key=file.key,
            ignored_reason=self._set_aside_as
            or ignored_reason(
                sop_class_uid=header.sop_class_uid,
                modality=header.modality,
                manufacturer=header.manufacturer,
                own_manufacturer=self._own_manufacturer,
            ),
            received_at_utc=datetime.now(UTC),
            is_urgent=announced.is_urgent,
        )


class ArrivingObject:
    """One object while its bytes come; leaving its context without `finish` leaves nothing behind."""

    def __init__(
        self,
        reception: Reception,
        announced: AnnouncedObject,
        caller: Caller,
        writer: SpoolWriter,
        meta_bytes: int,
    ) -> None:
        self._reception = reception
        self._announced = announced
        self._caller = caller
        self._writer = writer
        self._meta_bytes = meta_bytes
        self._bytes_left = reception.object_bytes_max

    def __enter__(self) -> ArrivingObject:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def discard(self) -> None:
        """Leave nothing behind; nothing happens after `finish`."""
        self._writer.discard()

    def write(self, piece: bytes | memoryview) -> None:
        """Take the next bytes of the data set.

        Raises
        ------
        RadDraftError
            If the object has become too large, or cannot be stored; nothing is left behind.
        """
        self._bytes_left -= len(piece)
        if self._bytes_left < 0:
            self._writer.discard()
            raise Permanent("object-too-large", "the object is larger than node.maximum_object_bytes")
        self._writer.write(piece)

    def finish(self) -> ReceivedObject:
        """Store and account for the object; when this returns, success may be answered.

        Raises
        ------
        RadDraftError
            Whatever failed; then there is neither a file nor a row.
        """
        try:
            return self._reception.account_for(self._announced, self._caller, self._writer, self._meta_bytes)
        finally:
            self._writer.discard()


def _checked_identification(announced: AnnouncedObject, dataset: Encoded) -> Identification:
    header = read_identification(dataset, announced.transfer_syntax_uid)
    if header.sop_class_uid != announced.sop_class_uid:
        raise SopClassMismatch("sop-class-mismatch", "data set and request name different SOP classes")
    if header.sop_instance_uid != announced.sop_instance_uid:
        raise Quarantine("sop-instance-mismatch", "data set and request name different SOP instances")
    if announced.study_instance_uid and header.study_instance_uid != announced.study_instance_uid:
        raise SopClassMismatch("study-mismatch", "the object is of another study than the request's")
    if is_patient_object(header.sop_class_uid):
        _require_uid(header.study_instance_uid, "(0020,000D)")
        _require_uid(header.series_instance_uid, "(0020,000E)")
        return header
    # Hanging protocols, palettes and their like belong to no study, whatever stands there.
    return replace(header, study_instance_uid="", series_instance_uid="")


def _require_uid(text: str, tag: str = "") -> None:
    if not valid_uid(text):
        raise Quarantine("invalid-uid", "a UID is missing or malformed", tag=tag)


def _code_string(text: str) -> str:
    upper = text.upper()
    return upper if _CODE_STRING.fullmatch(upper) else ""
