"""Small objects made for a test."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    ExplicitVRLittleEndian,
    generate_uid,
)


def crafted_dataset(
    *, sop_class_uid: str = ComputedRadiographyImageStorage, pixels: bytes = b"\0" * 512, **attributes: str
) -> Dataset:
    """A tiny object with all UIDs; `attributes` replace or add elements by keyword."""
    dataset = Dataset()
    dataset.SOPClassUID = sop_class_uid
    dataset.SOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID = generate_uid()
    dataset.SeriesInstanceUID = generate_uid()
    dataset.Modality = "CR"
    dataset.Manufacturer = "Phantom works"
    dataset.PatientName = "Doe^Jane"
    dataset.Rows, dataset.Columns, dataset.BitsAllocated = 16, 16, 16
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    if pixels:
        dataset.add_new("PixelData", "OW", pixels)
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def encoded(dataset: Dataset, *, transfer_syntax_uid: str = ExplicitVRLittleEndian) -> bytes:
    """The data set as it travels in a C-STORE request."""
    syntax = UID(transfer_syntax_uid)
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = syntax.is_little_endian, syntax.is_implicit_VR
    write_dataset(buffer, dataset)
    return buffer.getvalue()


def as_file(dataset: Dataset, *, transfer_syntax_uid: str = ExplicitVRLittleEndian) -> bytes:
    """The data set as a DICOM file."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def dataset_part(content: bytes) -> bytes:
    """A DICOM file without preamble and file meta information."""
    # PS3.10 section 7.1: the group length (0002,0000) is first; its value counts what follows it.
    assert content[128:132] == b"DICM"
    length = int.from_bytes(content[140:144], "little")
    return content[144 + length :]


def written(path: Path, dataset: Dataset) -> Path:
    """The data set as a file on disk."""
    path.write_bytes(as_file(dataset))
    return path
