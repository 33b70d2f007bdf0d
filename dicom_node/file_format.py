"""The DICOM file format: what stands in a file before the data set (PS3.10 section 7.1)."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from struct import pack

from pydicom.filereader import read_dataset

from clinical import Quarantine

# RadDraft's own implementation, derived once from its name (PS3.7 D.3.3.2).
IMPLEMENTATION_CLASS_UID = "2.25.164195904990690805692545054873771844916"
IMPLEMENTATION_VERSION_NAME = "RADDRAFT"
_PREAMBLE = b"\0" * 128 + b"DICM"
# File meta information of any real file is far shorter.
META_BYTES_MAX = 1 << 16


def encoded_file_meta(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """Preamble and file meta information that name the object and say that we wrote the file.

    The bytes follow from the arguments alone, in every version of RadDraft: the digest of a stored file tells whether
    an object came again.
    """
    elements = b"".join(
        (
            # OB: two reserved bytes and a length of 32 bits (PS3.5 section 7.1.2).
            pack("<HH2sHL", 0x0002, 0x0001, b"OB", 0, 2) + b"\x00\x01",
            _short_element(0x0002, b"UI", sop_class_uid),
            _short_element(0x0003, b"UI", sop_instance_uid),
            _short_element(0x0010, b"UI", transfer_syntax_uid),
            _short_element(0x0012, b"UI", IMPLEMENTATION_CLASS_UID),
            _short_element(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME),
        )
    )
    return _PREAMBLE + pack("<HH2sHL", 0x0002, 0x0000, b"UL", 4, len(elements)) + elements


def _short_element(element: int, vr: bytes, text: str) -> bytes:
    value = text.encode("ascii")
    # Padded to even length: UIDs with a null, text with a space (PS3.5 section 6.2).
    value += (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
    return pack("<HH2sH", 0x0002, element, vr, len(value)) + value


@dataclass(frozen=True, slots=True)
class FileMeta:
    """File meta information as far as anybody asks for it; UIDs it does not name are empty.

    Attributes
    ----------
    dataset_starts
        Where the data set begins in the file, in bytes.
    """

    transfer_syntax_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    dataset_starts: int


def read_file_meta(content: bytes | bytearray) -> FileMeta:
    """The file meta information at a DICOM file's beginning (PS3.10 section 7.1).

    Raises
    ------
    Quarantine
        ``not-dicom`` without preamble, file meta information or transfer syntax.
    """
    if bytes(content[128:132]) != b"DICM":
        raise _not_a_file()
    head = BytesIO(content[132:META_BYTES_MAX])
    try:
        meta = read_dataset(head, False, True, stop_when=lambda tag, _vr, _length: tag.group != 2)
        transfer_syntax_uid = str(meta["TransferSyntaxUID"].value)
        return FileMeta(
            transfer_syntax_uid,
            str(meta.get("MediaStorageSOPClassUID", "")),
            str(meta.get("MediaStorageSOPInstanceUID", "")),
            132 + head.tell(),
        )
    except Exception:
        # A library's text may quote the data set.
        raise _not_a_file() from None


def _not_a_file() -> Quarantine:
    return Quarantine("not-dicom", "the content is no DICOM file with file meta information")
