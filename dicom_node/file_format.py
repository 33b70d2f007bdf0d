"""The DICOM file format: what stands in a file before the data set (PS3.10 section 7.1)."""

from __future__ import annotations

from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID

# RadDraft's own implementation, derived once from its name (PS3.7 D.3.3.2).
IMPLEMENTATION_CLASS_UID = "2.25.164195904990690805692545054873771844916"
IMPLEMENTATION_VERSION_NAME = "RADDRAFT"
_PREAMBLE = b"\0" * 128 + b"DICM"


def encoded_file_meta(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """Preamble and file meta information that name the object and say that we wrote the file."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = UID(sop_class_uid)
    meta.MediaStorageSOPInstanceUID = UID(sop_instance_uid)
    meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    encoded = DicomBytesIO()
    write_file_meta_info(encoded, meta, enforce_standard=True)
    return _PREAMBLE + encoded.getvalue()
