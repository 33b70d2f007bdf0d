"""What an object says it is, read from its bytes without touching the pixels."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

from pydicom.datadict import tag_for_keyword
from pydicom.uid import UID

from clinical import Quarantine
from dicom_node.header_walk import Encoded, Encoding, sniffed_encoding, walk_headers

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_UID_LENGTH_MAX = 64
# PS3.5 A.5 and section 10.18: data sets that are deflated as a whole.
_DEFLATED = frozenset(
    {"1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"},
)
# A small deflated object may inflate to gigabytes; no header of projection radiography needs more than this.
_INFLATED_HEADER_BYTES = 4 << 20
_RAW_DEFLATE = -zlib.MAX_WBITS
_ATTRIBUTES = {
    "SOPClassUID": "sop_class_uid",
    "SOPInstanceUID": "sop_instance_uid",
    "Modality": "modality",
    "Manufacturer": "manufacturer",
    "StudyInstanceUID": "study_instance_uid",
    "SeriesInstanceUID": "series_instance_uid",
}
_LOOKED_AT = {int(tag_for_keyword(keyword) or 0): name for keyword, name in _ATTRIBUTES.items()}
_LAST_LOOKED_AT = max(_LOOKED_AT)
# Pixels begin at Float Pixel Data (7FE0,0008); nothing that identifies comes after.
_FIRST_PIXEL_TAG = 0x7FE00008
# No value looked at is longer by PS3.5 Table 6.2-1 (LO: 64 characters); a longer one is damage.
_VALUE_BYTES_MAX = 1024


@dataclass(frozen=True, slots=True)
class Identification:
    """The attributes that tell objects apart, as text without padding; empty where absent."""

    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    study_instance_uid: str = ""
    series_instance_uid: str = ""
    modality: str = ""
    manufacturer: str = ""


def read_identification(dataset: Encoded, transfer_syntax_uid: str) -> Identification:
    """What identifies an object.

    Parameters
    ----------
    dataset
        Encoded data set as the peer sent it, without file meta information. Of a repeated attribute the last value
        counts, as general parsers have it.

    Raises
    ------
    Quarantine
        ``unreadable-header`` (or a code of `walk_headers`) if the bytes are no data set. What is broken behind the
        identifying attributes is not looked at here: it is found, and named, when the object is read.
    """
    if transfer_syntax_uid in _DEFLATED:
        dataset = _inflated_header(dataset)
    encoding = sniffed_encoding(dataset, _declared_encoding(transfer_syntax_uid))
    found: dict[str, str] = {}
    for element in walk_headers(dataset, encoding):
        if element.tag >= _FIRST_PIXEL_TAG:
            break
        # Attributes come in ascending order (PS3.5 section 7.1); where they do not, look on until the pixels.
        if element.tag > _LAST_LOOKED_AT and "study_instance_uid" in found and "sop_instance_uid" in found:
            break
        name = _LOOKED_AT.get(element.tag)
        if name is not None and element.length is not None:
            found[name] = _text(dataset, element.start, element.length)
    return Identification(**found)


def _inflated_header(dataset: Encoded) -> bytes:
    try:
        # More input than this cannot be needed: deflating makes nothing longer by more than a few bytes.
        deflated = dataset[:_INFLATED_HEADER_BYTES]
        return zlib.decompressobj(_RAW_DEFLATE).decompress(deflated, _INFLATED_HEADER_BYTES)
    except zlib.error as error:
        raise Quarantine("unreadable-header", "the data set is not deflated as its syntax says") from error


def _declared_encoding(transfer_syntax_uid: str) -> Encoding | None:
    syntax = UID(transfer_syntax_uid)
    if syntax.is_private or not syntax.is_transfer_syntax:
        return None
    return Encoding(not syntax.is_implicit_VR, syntax.is_little_endian)


def _text(dataset: Encoded, start: int, length: int) -> str:
    if length > _VALUE_BYTES_MAX or start + length > len(dataset):
        raise Quarantine("unreadable-header", "an identifying attribute is cut off or far too long")
    # The repertoire of every looked-at value that matters is ASCII; others only have to come through unharmed.
    return bytes(dataset[start : start + length]).decode("latin-1").strip(" \0")


def valid_uid(text: str) -> bool:
    """Whether `text` is a UID by PS3.5 section 9.1; leading zeros in components are tolerated."""
    return len(text) <= _UID_LENGTH_MAX and _UID.fullmatch(text) is not None
