"""Small radiographs as a modality would send them, and Drafts about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom import Sequence as DicomSequence
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
)

from clinical import (
    Box,
    CheckResult,
    CheckStatus,
    Draft,
    DraftOutcome,
    Exchange,
    Finding,
    GroundedBox,
    ImageOutcome,
    ImageRef,
    Laterality,
    ModelIdentity,
    NotAssessed,
    Polarity,
    Presence,
    Reading,
    Score,
    Sentence,
    derived_uid,
    finding_label,
    finding_uid,
    merge_study_findings,
)
from imaging import display, display_facts
from reporting import SourceImage, header_digest, radiograph_of

STUDY_UID = "1.2.826.0.1.3680043.10.1.1"
MADE = datetime(2024, 3, 5, 23, 30, 15, tzinfo=UTC)
STATEMENT = "PHANTOM MODEL - NOT FOR CLINICAL USE"
MODEL = ModelIdentity(
    name="Crafted model",
    version="3",
    family="llava_onevision",
    weights_sha256="ab" * 32,
    prompts_sha256="cd" * 32,
    engine="onnxruntime 1.32.0 CPUExecutionProvider",
    precision="fp32",
    statement=STATEMENT,
)
ROWS, COLUMNS = 300, 260


def picture(rows: int = ROWS, columns: int = COLUMNS) -> NDArray[np.float64]:
    """Something like a chest, 0 to 1, bright where a radiograph is: lungs, heart, spine."""
    y, x = np.mgrid[0:rows, 0:columns]
    u, v = x / columns, y / rows
    chest = 0.75 - 0.15 * np.cos(6 * u) + 0.1 * v
    for centre in (0.3, 0.7):
        chest -= 0.45 * (((u - centre) / 0.17) ** 2 + ((v - 0.45) / 0.3) ** 2 < 1)
    chest += 0.25 * (((u - 0.55) / 0.16) ** 2 + ((v - 0.6) / 0.15) ** 2 < 1)
    shown = np.clip(chest + 0.03 * np.sin(40 * u) * np.sin(33 * v), 0.02, 0.98)
    return np.asarray(shown, dtype=np.float64)


def radiograph(
    *,
    photometric: str = "MONOCHROME2",
    voi: str = "window",
    number: int = 1,
    dx: bool = True,
    charset: str | Sequence[str] | None = "ISO_IR 100",
    **attributes: Any,
) -> Dataset:
    """12-bit DX or CR image without faults of its own; `attributes` are set last.

    Parameters
    ----------
    voi
        ``"window"``, ``"lut"``, ``"signed-lut"`` (after a rescale to negative values) or ``"none"``.
    """
    header = Dataset()
    header.SOPClassUID = DigitalXRayImageStorageForPresentation if dx else ComputedRadiographyImageStorage
    header.SOPInstanceUID = f"{STUDY_UID}.1.{number}"
    header.StudyInstanceUID, header.SeriesInstanceUID = STUDY_UID, f"{STUDY_UID}.1"
    header.Modality = "DX" if dx else "CR"
    if charset is not None:
        header.SpecificCharacterSet = charset if isinstance(charset, str) else list(charset)
    _patient_and_study(header)
    _series_and_image(header, dx=dx)
    _pixels(header, photometric)
    _voi(header, voi)
    for keyword, value in attributes.items():
        setattr(header, keyword, value)
    return saved(header)


def _patient_and_study(header: Dataset) -> None:
    header.PatientName, header.PatientID, header.IssuerOfPatientID = "Doe^Jane", "P-77", "HOSPITAL"
    header.PatientBirthDate, header.PatientSex = "19610203", "F"
    header.StudyDate, header.StudyTime, header.StudyID = "20240305", "231500", "S1"
    header.AccessionNumber, header.ReferringPhysicianName = "A-9", "Ref^Doctor"
    header.StudyDescription = "Chest PA"


def _series_and_image(header: Dataset, *, dx: bool) -> None:
    header.SeriesNumber, header.InstanceNumber = 1, 1
    header.Manufacturer, header.BodyPartExamined, header.ViewPosition = "Maker", "CHEST", "PA"
    header.ContentDate, header.ContentTime = "20240305", "231500"
    header.AcquisitionDate, header.AcquisitionTime = "20240305", "231500"
    header.ImageType = ["ORIGINAL", "PRIMARY"]
    header.PatientOrientation = ["L", "F"]
    if dx:
        header.PresentationIntentType, header.ImageLaterality = "FOR PRESENTATION", "U"
        header.ImagerPixelSpacing = ["0.2", "0.2"]


def _pixels(header: Dataset, photometric: str) -> None:
    stored = np.round(picture() * 4095)
    if photometric == "MONOCHROME1":
        stored = 4095 - stored
    header.PhotometricInterpretation, header.SamplesPerPixel = photometric, 1
    header.Rows, header.Columns = stored.shape
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 12, 11, 0
    header.BurnedInAnnotation, header.LossyImageCompression = "NO", "00"
    header.RescaleIntercept, header.RescaleSlope, header.RescaleType = "0", "1", "US"
    header.PresentationLUTShape = "INVERSE" if photometric == "MONOCHROME1" else "IDENTITY"
    header.PixelIntensityRelationship, header.PixelIntensityRelationshipSign = "LOG", -1
    header.PixelData = stored.astype("<u2").tobytes()


def _voi(header: Dataset, voi: str) -> None:
    if voi == "window":
        header.WindowCenter, header.WindowWidth = "2000", "3600"
        return
    if voi == "signed-lut":
        header.RescaleIntercept = "-1000"
    if voi.endswith("lut"):
        item = Dataset()
        first = int(float(header.RescaleIntercept))
        curve = np.round(1023 * (np.arange(4096) / 4095) ** 1.8)
        item.add_new(0x00283002, "SS" if first < 0 else "US", [4096, first, 10])
        item.add_new(0x00283006, "OW", curve.astype("<u2").tobytes())
        header.VOILUTSequence = DicomSequence([item])


def saved(header: Dataset) -> Dataset:
    """The data set written and read again, as service reads what a modality sent."""
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out = BytesIO()
    header.save_as(out, enforce_file_format=True)
    return dcmread(BytesIO(out.getvalue()))


def source_image(header: Dataset) -> SourceImage:
    """Source with its displayed pixels, found as the decoder finds them."""
    return SourceImage(header, radiograph_of(display(header.pixel_array, display_facts(header))))


def image_ref(header: Dataset) -> ImageRef:
    return ImageRef(
        sop_instance_uid=str(header.SOPInstanceUID),
        sop_class_uid=str(header.get("SOPClassUID", "")),
        series_instance_uid=str(header.get("SeriesInstanceUID", "")),
        rows=int(header.get("Rows") or 0),
        columns=int(header.get("Columns") or 0),
        modality=str(header.get("Modality", "")),
        photometric_interpretation=str(header.get("PhotometricInterpretation", "")),
        view_position="PA",
    )


def present(name: str, side: Laterality, box: Box | None, header: Dataset, score: float = 0.87) -> Finding:
    label = finding_label(name)
    uid = finding_uid(
        study_instance_uid=STUDY_UID,
        sop_instance_uid=str(header.SOPInstanceUID),
        code=label.code.value,
        scheme=label.code.scheme,
        laterality=side.value,
        ordinal=0,
    )
    boxes = (GroundedBox(box, 0.9),) if box is not None else ()
    passed = CheckResult("laterality-text-vs-box", "1", CheckStatus.PASS, "text and box agree")
    return Finding(uid, label, Presence.PRESENT, side, None, Score(score, 0.5), boxes, (), (passed,))


def absent(name: str, header: Dataset) -> Finding:
    uid = derived_uid("absent", str(header.SOPInstanceUID), name)
    return Finding(uid, finding_label(name), Presence.ABSENT, score=Score(0.04, 0.5))


def reading(header: Dataset, *, findings: bool = True) -> Reading:
    """A Reading with two boxed findings, one without a box and two absent ones; or with absent ones only."""
    found: tuple[Finding, ...] = (absent("Pneumothorax", header), absent("Pleural Other", header))
    sentences = [Sentence("No pneumothorax.", Polarity.NEGATIVE, (found[0].uid,))]
    if findings:
        effusion = present("Pleural Effusion", Laterality.RIGHT, Box(30.3, 180.2, 110.9, 250.6), header)
        heart = present("Cardiomegaly", Laterality.UNSPECIFIED, Box(90, 120, 200, 230), header, 0.7)
        device = present("Support Devices", Laterality.UNSPECIFIED, None, header, 0.6)
        found = (effusion, heart, device, *found)
        text = "Right pleural effusion."
        sentences.insert(0, Sentence(text, Polarity.POSITIVE, (effusion.uid,), effusion.boxes))
        failed = CheckResult("names-a-prior", "1", CheckStatus.FAIL, "speaks of an earlier image")
        sentences.append(Sentence("Unchanged since the prior.", Polarity.NEUTRAL, checks=(failed,)))
    return Reading(
        image=image_ref(header),
        findings=found,
        sentences=tuple(sentences),
        exchanges=(Exchange("report", "question", "answer"),),
        model=MODEL,
        not_assessed=(NotAssessed("Lung cyst", "unknown-label", "the model does not know this label"),),
        checks=(CheckResult("single-frontal", "1", CheckStatus.WARN, "two frontal images"),),
    )


def draft(headers: Sequence[Dataset], *, findings: bool = True) -> Draft:
    """Draft with one Reading per header."""
    readings = tuple(reading(header, findings=findings) for header in headers)
    return Draft(
        study_instance_uid=STUDY_UID,
        version=1,
        outcome=DraftOutcome.FINDINGS if findings else DraftOutcome.NO_FINDINGS,
        readings=readings,
        other_images=(),
        study_findings=merge_study_findings(readings),
        model=MODEL,
        header_digest=header_digest(headers),
        configuration_sha256="ef" * 32,
        product_version="0.1.0",
        started_at_utc=MADE,
        completed_at_utc=MADE,
    )


def unread_draft(
    headers: Sequence[Dataset],
    outcome: DraftOutcome,
    state: str = "not_assessed",
    reason: str = "not a chest",
) -> Draft:
    """Draft of a study nothing was read of."""
    others = tuple(ImageOutcome(image_ref(header), state, "code", reason) for header in headers)
    return replace(
        draft(headers, findings=False),
        outcome=outcome,
        readings=(),
        study_findings=(),
        other_images=others,
        reasons=(NotAssessed("image 1", "code", reason),),
    )


def sources(*headers: Dataset) -> dict[str, SourceImage]:
    return {str(header.SOPInstanceUID): source_image(header) for header in headers}


def parsed(content: bytes) -> Dataset:
    return dcmread(BytesIO(content))


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path
