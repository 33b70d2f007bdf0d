"""Phantoms as DICOM: Digital X-Ray (both intents) and Computed Radiography images with full headers.

Module requirements: PS3.3 A.26 (DX), A.2 (CR). All times are fixed by the seed, so a phantom's bytes are too.
`training.phantoms.manners` changes headers into what other makers' machines write.
"""

from __future__ import annotations

import dataclasses
import datetime
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    ExplicitVRLittleEndian,
    generate_uid,
)

from training.phantoms.manners import Manner, apply_manner
from training.phantoms.phantom import Truth
from training.phantoms.strangers import Stranger
from training.phantoms.subjects import Subject, draw_subject

DETECTOR_WIDTH_MM = 430.0
ISSUER = "PHANTOM"
_FIRST_DAY = datetime.datetime(2024, 1, 1, 8, 0)


class Photometric(StrEnum):
    """Whether high stored values are dark (MONOCHROME1) or bright (MONOCHROME2)."""

    MONOCHROME1 = "MONOCHROME1"
    MONOCHROME2 = "MONOCHROME2"


class Storage(StrEnum):
    """The kinds of image a phantom can be written as."""

    DX_PRESENTATION = "dx_presentation"
    DX_PROCESSING = "dx_processing"
    CR = "cr"

    @property
    def sop_class_uid(self) -> UID:
        """Storage SOP Class UID."""
        return {
            Storage.DX_PRESENTATION: DigitalXRayImageStorageForPresentation,
            Storage.DX_PROCESSING: DigitalXRayImageStorageForProcessing,
            Storage.CR: ComputedRadiographyImageStorage,
        }[self]


@dataclass(frozen=True, slots=True)
class Variant:
    """How one phantom is stored: 8 to 16 bits, in the manner of one kind of machine."""

    storage: Storage
    photometric: Photometric
    bits_stored: int = 12
    manner: Manner = Manner.PLAIN


VARIANTS = (
    Variant(Storage.DX_PRESENTATION, Photometric.MONOCHROME2),
    Variant(Storage.CR, Photometric.MONOCHROME1),
    Variant(Storage.DX_PROCESSING, Photometric.MONOCHROME1),
    Variant(Storage.CR, Photometric.MONOCHROME2),
    Variant(Storage.DX_PRESENTATION, Photometric.MONOCHROME1),
)
"""The plainest ways, in turn."""

WIDER_VARIANTS = (
    *VARIANTS,
    Variant(Storage.DX_PRESENTATION, Photometric.MONOCHROME2, 14, Manner.LOOKUP_TABLE),
    Variant(Storage.DX_PRESENTATION, Photometric.MONOCHROME1, 16, Manner.PADDED),
    Variant(Storage.CR, Photometric.MONOCHROME1, 10, Manner.SPARSE),
    Variant(Storage.CR, Photometric.MONOCHROME2, 8, Manner.LEGACY),
    Variant(Storage.DX_PRESENTATION, Photometric.MONOCHROME2, 15, Manner.SIGMOID),
    Variant(Storage.CR, Photometric.MONOCHROME1, 12, Manner.PRIVATE),
    Variant(Storage.DX_PROCESSING, Photometric.MONOCHROME1, 14, Manner.PADDED),
)
"""How phantoms are stored, in turn by seed."""


def phantom_dataset(
    seed: int,
    variant: Variant,
    size_px: int = 1024,
    *,
    subject: Subject = Subject.FRONTAL,
) -> tuple[FileDataset, Truth]:
    """Phantom of a seed as a DICOM data set, with its truth (boxes as fractions of the image).

    Half of the mirrored images and of the strangers have a header that says so; the others' says that it is a
    chest, the standard way round.
    """
    image, truth = draw_subject(seed, size_px, subject)
    uids = [
        generate_uid(entropy_srcs=["raddraft phantom", str(seed), kind])
        for kind in ("study", "series", "image")
    ]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = variant.storage.sop_class_uid
    meta.MediaStorageSOPInstanceUID = uids[2]
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    _patient_and_study(dataset, seed, uids)
    _series_and_equipment(dataset, seed, variant, uids)
    _image(dataset, variant, size_px)
    _say_view(dataset, stated_truth(truth))
    if variant.storage is Storage.CR:
        _computed_radiography(dataset, variant, size_px)
    else:
        _digital_x_ray(dataset, variant, size_px)
        _code_view(dataset, stated_truth(truth))
    _pixels(dataset, image, variant)
    apply_manner(dataset, variant.manner)
    return dataset, truth


def stated_truth(truth: Truth) -> Truth:
    """What the header claims: the truth, but for half of the mirrored images and of the strangers."""
    lies = truth.seed // len(Stranger) % 2 == 0 and not truth.is_frontal and truth.view != "LATERAL"
    return dataclasses.replace(truth, view="PA", mirrored=False) if lies else truth


def write_phantom(path: Path, seed: int, variant: Variant, size_px: int = 1024) -> Truth:
    """Write a phantom as a DICOM file; returns its truth."""
    dataset, truth = phantom_dataset(seed, variant, size_px)
    dataset.save_as(path, enforce_file_format=True)
    return truth


def _patient_and_study(dataset: Dataset, seed: int, uids: list[UID]) -> None:
    taken = _FIRST_DAY + datetime.timedelta(minutes=7 * (seed % 100_000))
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName = f"PHANTOM^{seed:03d}"
    dataset.PatientID = f"PH{seed:08d}"
    dataset.IssuerOfPatientID = ISSUER
    dataset.PatientBirthDate = f"{1940 + seed % 50}0101"
    dataset.PatientSex = "FM"[seed % 2]
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID = uids
    dataset.StudyID = str(seed % 10**9)
    dataset.AccessionNumber = f"A{seed:09d}"[:16]
    dataset.ReferringPhysicianName = "REFERRING^PHANTOM"
    dataset.PatientAge = f"{2024 - 1940 - seed % 50:03d}Y"
    for kind in ("Study", "Series", "Acquisition", "Content"):
        setattr(dataset, f"{kind}Date", taken.strftime("%Y%m%d"))
        setattr(dataset, f"{kind}Time", taken.strftime("%H%M%S"))


def _series_and_equipment(dataset: Dataset, seed: int, variant: Variant, uids: list[UID]) -> None:
    dataset.SOPClassUID = variant.storage.sop_class_uid
    dataset.Modality = "CR" if variant.storage is Storage.CR else "DX"
    dataset.SeriesNumber, dataset.InstanceNumber, dataset.AcquisitionNumber = 1, 1, 1
    dataset.BodyPartExamined = "CHEST"
    dataset.Manufacturer = "RadDraft phantom generator"
    dataset.ManufacturerModelName = "Phantom"
    dataset.InstitutionName = "Synthetic"
    dataset.DeviceSerialNumber = "1"
    dataset.SoftwareVersions = "1"
    dataset.StationName = "PHANTOM1"


def _image(dataset: Dataset, variant: Variant, size_px: int) -> None:
    dataset.ImageType = (
        ["ORIGINAL", "PRIMARY", ""] if variant.storage is not Storage.CR else ["ORIGINAL", "PRIMARY"]
    )
    dataset.BurnedInAnnotation = "YES"
    dataset.LossyImageCompression = "00"
    dataset.ImageComments = "SYNTHETIC PHANTOM - NOT A PATIENT"
    dataset.KVP = "120"
    dataset.ExposureTime, dataset.XRayTubeCurrent, dataset.Exposure = "6", "320", "2"
    dataset.DistanceSourceToDetector = "1800"
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = variant.photometric.value
    dataset.Rows = dataset.Columns = size_px
    dataset.BitsAllocated = 8 if variant.bits_stored == 8 else 16
    dataset.BitsStored, dataset.HighBit = variant.bits_stored, variant.bits_stored - 1
    dataset.PixelRepresentation = 0


# View Position's words for the study, Patient Orientation (row, column) and View Code (CID 4010) of each view.
_VIEWS = {
    "PA": ("Chest PA", ["L", "F"], ("272479007", "SCT", "postero-anterior")),
    "AP": ("Chest AP portable", ["L", "F"], ("399348003", "SCT", "antero-posterior")),
    "LATERAL": ("Chest lateral", ["P", "F"], ("399067008", "SCT", "lateral")),
}
# Anatomic regions (CID 4009) of what is no chest; a detector test has none.
_PARTS = {
    Stranger.HAND: ("85562004", "SCT", "Hand"),
    Stranger.KNEE: ("72696002", "SCT", "Knee"),
    Stranger.SKULL: ("89546000", "SCT", "Skull"),
    Stranger.ABDOMEN: ("818981001", "SCT", "Abdomen"),
}


def _say_view(dataset: Dataset, told: Truth) -> None:
    view = told.view if told.view in _VIEWS else "AP"
    description, orientation, _ = _VIEWS[view]
    dataset.ViewPosition = "LL" if view == "LATERAL" else view
    dataset.PatientOrientation = ["R", "F"] if told.mirrored else orientation
    dataset.SeriesDescription = told.view
    if told.view not in _VIEWS:
        description = told.view.capitalize()
        dataset.BodyPartExamined = told.view if told.view in _PARTS else ""
    dataset.StudyDescription = f"{description} (synthetic phantom)"


def _code_view(dataset: Dataset, told: Truth) -> None:
    """Anatomic region and view of a DX image (PS3.3 C.8.11.2, C.8.11.5)."""
    dataset.ViewCodeSequence = DicomSequence([_code(*_VIEWS[told.view if told.view in _VIEWS else "AP"][2])])
    dataset.ViewCodeSequence[0].ViewModifierCodeSequence = DicomSequence([])
    if told.view not in _VIEWS:
        part = _PARTS.get(Stranger(told.view))
        dataset.AnatomicRegionSequence = DicomSequence([_code(*part)] if part else [])


def _spacing(size_px: int) -> list[str]:
    return [f"{DETECTOR_WIDTH_MM / size_px:.6g}"] * 2


def _computed_radiography(dataset: Dataset, variant: Variant, size_px: int) -> None:
    dataset.PixelSpacing = _spacing(size_px)
    dataset.ImagerPixelSpacing = _spacing(size_px)
    dataset.PlateType = "PHOSPHOR"
    if dataset.BodyPartExamined not in ("CHEST", "SKULL", "ABDOMEN"):
        dataset.Laterality = ""  # wanted of a paired or unknown part (PS3.3 C.7.3.1)
    _window(dataset, variant.bits_stored)


def _digital_x_ray(dataset: Dataset, variant: Variant, size_px: int) -> None:
    """DX Anatomy, Image, Detector and Positioning modules (PS3.3 C.8.11.2-C.8.11.5)."""
    presentation = variant.storage is Storage.DX_PRESENTATION
    dataset.PresentationIntentType = "FOR PRESENTATION" if presentation else "FOR PROCESSING"
    dataset.ImageLaterality = "U"
    dataset.AnatomicRegionSequence = DicomSequence([_code("51185008", "SCT", "Chest")])
    dataset.ImagerPixelSpacing = _spacing(size_px)
    dataset.PixelSpacing = _spacing(size_px)
    dataset.DetectorType = "DIRECT"
    dataset.DetectorID = "PHANTOM-DETECTOR"
    dataset.DetectorConfiguration = "AREA"
    dataset.PixelIntensityRelationship = "LOG"
    dataset.PixelIntensityRelationshipSign = _sign(variant)
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = "0", "1", "US"
    dataset.PositionerType = "NONE"
    dataset.AcquisitionContextSequence = DicomSequence([])
    dataset.PresentationLUTShape = "INVERSE" if variant.photometric is Photometric.MONOCHROME1 else "IDENTITY"
    if presentation:
        _window(dataset, variant.bits_stored)


def _sign(variant: Variant) -> int:
    """+1 where more X-rays give higher values (PS3.3 C.8.11.3.1.2): dark lungs high is MONOCHROME1."""
    return 1 if variant.photometric is Photometric.MONOCHROME1 else -1


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _window(dataset: Dataset, bits_stored: int) -> None:
    full = 2**bits_stored
    dataset.WindowCenter, dataset.WindowWidth = str(full // 2), str(full)


def _pixels(dataset: Dataset, image: NDArray[np.float32], variant: Variant) -> None:
    top = 2**variant.bits_stored - 1
    stored = np.round(image * top).astype(np.uint16)
    if variant.photometric is Photometric.MONOCHROME1:
        stored = (top - stored).astype(np.uint16)
    eight = dataset.BitsAllocated == 8
    content = stored.astype(np.uint8).tobytes() if eight else stored.tobytes()
    dataset.PixelData = content + b"\0" * (len(content) % 2)
    dataset["PixelData"].VR = "OB" if eight else "OW"
