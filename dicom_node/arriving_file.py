"""An object that comes as a DICOM file (PS3.10), piece by piece, and goes to the disk as it comes."""

from __future__ import annotations

from clinical import Quarantine, RadDraftError
from dicom_node.file_format import FileMeta, read_file_meta
from dicom_node.identification import Identification, read_identification
from dicom_node.received import ReceivedObject
from dicom_node.reception import AnnouncedObject, ArrivingObject, Caller, Reception

# What identifies an object stands in front of its pixels; real headers up to there are far shorter than this.
HEAD_BYTES = 1 << 20


class ArrivingFile:
    """One file while its bytes come; leaving its context without `finish` leaves nothing behind.

    Its head alone is held in memory, until the object can be told by it. Where the head is too short for that, the
    file meta information is taken at its word; it must be true in the end, as a C-STORE request must.

    Parameters
    ----------
    study_instance_uid
        Study the object must belong to; empty for any.
    """

    def __init__(self, reception: Reception, caller: Caller, *, study_instance_uid: str = "") -> None:
        self._reception = reception
        self._caller = caller
        self._study_instance_uid = study_instance_uid
        self._head = bytearray()
        self._arriving: ArrivingObject | None = None
        self.identification = Identification()

    def __enter__(self) -> ArrivingFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def write(self, piece: bytes | memoryview) -> None:
        """Take the next bytes of the file.

        Raises
        ------
        RadDraftError
            If it is no such file, is refused or cannot be stored; nothing is left behind.
        """
        if self._arriving is not None:
            self._arriving.write(piece)
            return
        self._head += piece
        if len(self._head) >= HEAD_BYTES:
            self._begin(is_whole=False)

    def finish(self) -> ReceivedObject:
        """Store and account for the object; when this returns, success may be answered.

        Raises
        ------
        RadDraftError
            Whatever failed; then there is neither a file nor a row.
        """
        arriving = self._arriving or self._begin(is_whole=True)
        return arriving.finish()

    def discard(self) -> None:
        """Leave nothing behind; nothing happens after `finish`."""
        if self._arriving is not None:
            self._arriving.discard()

    def _begin(self, *, is_whole: bool) -> ArrivingObject:
        meta = read_file_meta(self._head)
        dataset = memoryview(bytes(self._head))[meta.dataset_starts :]
        self._head = bytearray()
        self.identification = _identified(dataset, meta, is_whole=is_whole)
        announced = AnnouncedObject(
            sop_class_uid=self.identification.sop_class_uid,
            sop_instance_uid=self.identification.sop_instance_uid,
            transfer_syntax_uid=meta.transfer_syntax_uid,
            study_instance_uid=self._study_instance_uid,
        )
        self._arriving = self._reception.begin(announced, self._caller)
        self._arriving.write(dataset)
        return self._arriving


def _identified(dataset: memoryview, meta: FileMeta, *, is_whole: bool) -> Identification:
    """What the head says the object is; of a file that goes on, the file meta information where it does not."""
    try:
        found = read_identification(dataset, meta.transfer_syntax_uid)
        if is_whole or (found.sop_class_uid and found.sop_instance_uid):
            return found
    except Quarantine as error:
        if is_whole:
            raise
        failure: RadDraftError = error
    else:
        failure = Quarantine("unreadable-header", "neither the header nor the file meta information names it")
    if not (meta.sop_class_uid and meta.sop_instance_uid):
        raise failure
    return Identification(sop_class_uid=meta.sop_class_uid, sop_instance_uid=meta.sop_instance_uid)
