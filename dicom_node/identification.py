"""What an object says it is, read from its bytes without touching the pixels."""

from __future__ import annotations

import re
import zlib
from io import BytesIO

from pydicom import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from clinical import Quarantine

# Headers end where Float (7FE0,0008), Double Float (7FE0,0009) or Pixel Data (7FE0,0010) begins.
_FIRST_PIXEL_TAG = 0x7FE00008
# A small deflated object may inflate to gigabytes; no header of projection radiography needs more than this.
_INFLATED_HEADER_BYTES = 4 << 20
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_UID_LENGTH_MAX = 64
_RAW_DEFLATE = -zlib.MAX_WBITS
_LOOKED_AT = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "Modality",
    "Manufacturer",
)


def read_identification(dataset: bytes, transfer_syntax_uid: str) -> Dataset:
    """The data set up to its pixels.

    Parameters
    ----------
    dataset
        Encoded data set as the peer sent it, without file meta information.

    Raises
    ------
    Quarantine
        ``unreadable-header`` if it cannot be parsed, whatever the parser raised.
    """
    syntax = UID(transfer_syntax_uid)
    try:
        if syntax == DeflatedExplicitVRLittleEndian:
            dataset = zlib.decompressobj(_RAW_DEFLATE).decompress(dataset, _INFLATED_HEADER_BYTES)
        # An unknown or private syntax is read as Explicit VR Little Endian, as PS3.5 A.4 asks of all encapsulated ones.
        implicit = syntax.is_transfer_syntax and not syntax.is_private and syntax.is_implicit_VR
        little = not syntax.is_transfer_syntax or syntax.is_private or syntax.is_little_endian
        header = read_dataset(BytesIO(dataset), implicit, little, stop_when=_at_pixels)
        found = Dataset()
        # Elements are decoded when first looked at: look now, while a failure can still be refused.
        for keyword in _LOOKED_AT:
            if keyword in header:
                setattr(found, keyword, str(header[keyword].value or "").strip())
        return found
    except Exception as error:
        raise Quarantine("unreadable-header", "the data set cannot be parsed as DICOM") from error


def _at_pixels(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return int(tag) >= _FIRST_PIXEL_TAG


def valid_uid(text: str) -> bool:
    """Whether `text` is a UID by PS3.5 section 9.1; leading zeros in components are tolerated."""
    return len(text) <= _UID_LENGTH_MAX and _UID.fullmatch(text) is not None
