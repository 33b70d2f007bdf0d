"""Reading a header that somebody else wrote: no pixel data, bounded work, one kind of error."""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import Any, BinaryIO

from pydicom import dcmread
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from clinical import Quarantine, Transient

# Real CR and DX headers stay below 1 MB and 10,000 elements; enhanced multi-frame headers reach tens of MB.
_MAX_HEADER_BYTES = 64 * 1024**2
# About 50,000 elements or, in sequences of stated length, so many items: some 2 s of work at the worst.
_MAX_READS = 150_000
_MAX_ITEMS = 20_000
_PREFIX_BYTES = 132
_ITEM_TAGS = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")
_TEXT_VRS = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
_IDENTITY_KEYWORDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "Modality", "FileSetID")


class HeaderTooLarge(Exception):
    """Reading the header would take more bytes or elements than any real header has."""


class _Bounded(io.RawIOBase):
    """Read-only view of a file that gives up after so many bytes or read calls."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._bytes_left = _MAX_HEADER_BYTES
        self._reads_left = _MAX_READS
        self._size = source.seek(0, io.SEEK_END)
        source.seek(0)

    def read(self, size: int = -1) -> bytes:
        """Next bytes; never allocates more than the file still has."""
        rest = max(self._size - self._source.tell(), 0)
        wanted = rest if size is None or size < 0 else min(size, rest)
        self._bytes_left -= wanted
        self._reads_left -= 1
        if self._bytes_left < 0 or self._reads_left < 0:
            raise HeaderTooLarge
        return self._source.read(wanted)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the position."""
        return self._source.seek(offset, whence)

    def tell(self) -> int:
        """Current position in bytes."""
        return self._source.tell()

    def readable(self) -> bool:
        """Whether `read` works: always."""
        return True

    def seekable(self) -> bool:
        """Whether `seek` works: always."""
        return True


class _Items:
    """How many sequence items may still be read.

    Sequences of stated length are parsed from memory, unseen by `_Bounded`, and an item costs far more time than its
    eight bytes suggest.
    """

    def __init__(self, left: int) -> None:
        self._left = left

    def spend_on(self, element: DataElement | RawDataElement) -> None:
        """Count the items an element not parsed yet may hold."""
        value = element.value
        if isinstance(element, RawDataElement) and isinstance(value, bytes):
            self._left -= max(value.count(tag) for tag in _ITEM_TAGS)
        if self._left < 0:
            raise HeaderTooLarge


def read_header(path: Path) -> Dataset:
    """Header of a DICOM file, without pixel data.

    Files without preamble and file meta information are read as bare data sets. Elements whose value cannot be
    read are left out, so that using the header raises nothing.

    Parameters
    ----------
    path
        File to read.

    Returns
    -------
    pydicom.dataset.Dataset
        Header with `file_meta`, in which Transfer Syntax UID is always present.

    Raises
    ------
    Quarantine
        ``unreadable-header`` where the file is not DICOM, is damaged or asks for unreasonable work.
    Transient
        ``file-unreadable`` where the file itself cannot be opened.
    """
    try:
        with path.open("rb") as file:
            dataset = _parse(file)
    except OSError as error:
        if error.errno is None:
            raise _unreadable(error) from None
        raise Transient("file-unreadable", f"the image file cannot be read: {type(error).__name__}") from None
    except HeaderTooLarge:
        raise Quarantine("unreadable-header", "the header is larger than any real header") from None
    except Exception as error:
        raise _unreadable(error) from None
    require_identity(dataset)
    return dataset


def require_identity(dataset: Dataset) -> None:
    """Refuse what holds none of the attributes every DICOM object has.

    Raises
    ------
    Quarantine
        ``unreadable-header``.
    """
    if not any(keyword in dataset for keyword in _IDENTITY_KEYWORDS):
        raise Quarantine("unreadable-header", "the file is not a DICOM object, or nothing of it can be read")


def _unreadable(error: Exception) -> Quarantine:
    return Quarantine("unreadable-header", f"the header cannot be read: {type(error).__name__}")


def _parse(file: BinaryIO) -> Dataset:
    bounded = _Bounded(file)
    file_meta = _file_meta(bounded)
    if file_meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        dataset = _parse_deflated(bounded, file_meta)
    else:
        bounded.seek(0)
        dataset = dcmread(bounded, stop_before_pixels=True, force=True)
    state_transfer_syntax(dataset)
    _drop_unreadable(dataset, _Items(_MAX_ITEMS))
    return dataset


def _file_meta(bounded: _Bounded) -> FileMetaDataset:
    """File meta information (PS3.10 7.1); leaves the position at the start of the data set."""
    if bounded.read(_PREFIX_BYTES)[-4:] != b"DICM":
        return FileMetaDataset()
    return FileMetaDataset(
        read_dataset(bounded, False, True, stop_when=lambda tag, _vr, _length: tag.group != 2)  # type: ignore[arg-type]
    )


def _parse_deflated(bounded: _Bounded, file_meta: FileMetaDataset) -> Dataset:
    """Header of a deflated data set (PS3.5 A.5), inflating no more than a header may hold."""
    inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(bounded.read(), _MAX_HEADER_BYTES)
    dataset = dcmread(_Bounded(io.BytesIO(inflated)), stop_before_pixels=True, force=True)
    dataset.file_meta = file_meta
    return dataset


def state_transfer_syntax(dataset: Dataset) -> None:
    """Write the encoding a bare data set was found to have into its file meta information."""
    if getattr(dataset, "file_meta", None) is None:
        dataset.file_meta = FileMetaDataset()
    if "TransferSyntaxUID" in dataset.file_meta:
        return
    implicit, little_endian = dataset.original_encoding
    if implicit:
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    else:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if little_endian else ExplicitVRBigEndian


def _drop_unreadable(dataset: Dataset, items: _Items) -> None:
    """Read every value now, so that nobody meets an exception later; what cannot be read is left out.

    Text is put back as its author's bytes: whoever copies a name can then copy it exactly, wrongly encoded or not.
    """
    for tag in list(dataset.keys()):
        try:
            stored: Any = dataset.get_item(tag)
            items.spend_on(stored)
            element: Any = dataset[tag]
            if str(element.VR) == "SQ":
                for item in element.value:
                    _drop_unreadable(item, items)
            elif element.VR in _TEXT_VRS and isinstance(stored, RawDataElement):
                dataset[tag] = stored
        except (RecursionError, HeaderTooLarge):
            raise
        except Exception:
            # One damaged element must not hide the rest of the header.
            del dataset[tag]
