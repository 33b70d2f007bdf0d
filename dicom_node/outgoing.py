"""Objects on their way out, as files whose bytes can be sent as they are."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import dcmwrite
from pynetdicom.dsutils import split_dataset

from clinical import Permanent
from dicom_node.file_format import encoded_file_meta
from dicom_node.identification import read_identification, valid_uid

# The SOP UIDs are the first attributes of a data set.
_HEAD_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class OutgoingObject:
    """A DICOM file to send and what its file meta information says of it."""

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str


@contextmanager
def opened(objects: Sequence[Path | bytes | Dataset]) -> Iterator[tuple[OutgoingObject, ...]]:
    """The objects as files; contents in memory get a file in memory for as long as the context lasts.

    Raises
    ------
    Permanent
        ``not-dicom`` if one is no DICOM file with SOP UIDs and a transfer syntax.
    """
    with ExitStack() as stack:
        yield tuple(_opened(item, stack) for item in objects)


def _opened(item: Path | bytes | Dataset, stack: ExitStack) -> OutgoingObject:
    try:
        if isinstance(item, Dataset):
            item = _encoded(item)
        path = item if isinstance(item, Path) else _in_memory((item,), stack)
        meta, offset = split_dataset(path)
        told = OutgoingObject(
            path,
            str(meta.get("MediaStorageSOPClassUID", "")),
            str(meta.get("MediaStorageSOPInstanceUID", "")),
            str(meta.TransferSyntaxUID),
        )
        described = _as_its_dataset_says(told, offset, stack)
    except Exception as error:
        raise _not_dicom() from error
    if not (valid_uid(described.sop_class_uid) and valid_uid(described.transfer_syntax_uid)):
        raise _not_dicom()
    return described


def _as_its_dataset_says(told: OutgoingObject, offset: int, stack: ExitStack) -> OutgoingObject:
    """The object under its data set's own SOP UIDs; file meta information in the wild contradicts them now and then."""
    with open(told.path, "rb") as file:
        file.seek(offset)
        found = read_identification(file.read(_HEAD_BYTES), told.transfer_syntax_uid)
        sop_class_uid = found.sop_class_uid or told.sop_class_uid
        sop_instance_uid = found.sop_instance_uid or told.sop_instance_uid
        if (sop_class_uid, sop_instance_uid) == (told.sop_class_uid, told.sop_instance_uid):
            return told
        meta = encoded_file_meta(sop_class_uid, sop_instance_uid, told.transfer_syntax_uid)
        file.seek(offset)
        path = _in_memory((meta, file.read()), stack)
    return OutgoingObject(path, sop_class_uid, sop_instance_uid, told.transfer_syntax_uid)


def _in_memory(pieces: tuple[bytes, ...], stack: ExitStack) -> Path:
    # Never a file on a disk outside the spool: it would hold patient data nobody deletes after a crash.
    descriptor = os.memfd_create("outgoing", os.MFD_CLOEXEC)
    stack.callback(os.close, descriptor)
    for piece in pieces:
        view = memoryview(piece)
        while view:
            view = view[os.write(descriptor, view) :]
    return Path(f"/proc/self/fd/{descriptor}")


def _encoded(dataset: Dataset) -> bytes:
    buffer = DicomBytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def _not_dicom() -> Permanent:
    return Permanent("not-dicom", "an object to send is no DICOM file with SOP UIDs and a transfer syntax")
