"""The burned-in picture as a Secondary Capture: readable in every PACS."""

from __future__ import annotations

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom import Sequence as DicomSequence
from pydicom.uid import ExplicitVRLittleEndian

from clinical import Draft, Reading
from reporting.equipment import copy_source, result_uid, series_description, stamp
from reporting.overlay import annotated_picture, banner_lines, legend_lines
from reporting.site_profile import DEFAULT_PROFILE, SiteProfile
from reporting.source import SourceImage, copied_attributes, evidence_of
from reporting.wording import NOT_VERIFIED, outcome_sentence


def build_sc(
    draft: Draft, reading: Reading, source: SourceImage, number: int, profile: SiteProfile = DEFAULT_PROFILE
) -> Dataset:
    """RGB copy of one read image with outlines and band; `number` counts the Draft's pictures from 1."""
    if source.displayed is None:
        raise ValueError("a Secondary Capture needs the displayed image")
    lines = [
        *legend_lines(reading, statement=draft.model.statement),
        *banner_lines(draft, image_number=number, image_count=len(draft.readings)),
    ]
    picture = annotated_picture(source.displayed, reading.present, lines)
    return _capture(draft, picture, source, number, profile)


def build_not_assessed_sc(draft: Draft, source: SourceImage, number: int, profile: SiteProfile) -> Dataset:
    """RGB copy of an image nobody read, with the reason in its band."""
    if source.displayed is None:
        raise ValueError("a Secondary Capture needs the displayed image")
    lines = [NOT_VERIFIED, outcome_sentence(draft)]
    lines += [draft.model.statement] if draft.model.statement else []
    lines += banner_lines(draft, image_number=number, image_count=len(draft.other_images))
    return _capture(draft, annotated_picture(source.displayed, (), lines), source, number, profile)


def _capture(
    draft: Draft, picture: NDArray[np.uint8], source: SourceImage, number: int, profile: SiteProfile
) -> Dataset:
    header = source.header
    evidence = evidence_of(header)
    uid = str(header.SOPInstanceUID)
    capture = hd.sc.SCImage.from_ref_dataset(
        evidence,
        pixel_array=np.ascontiguousarray(picture),
        photometric_interpretation=hd.PhotometricInterpretationValues.RGB,
        bits_allocated=8,
        coordinate_system=hd.CoordinateSystemNames.PATIENT,
        series_instance_uid=result_uid(draft, "sc-series"),
        series_number=profile.sc_series_number,
        sop_instance_uid=result_uid(draft, "sc", uid),
        instance_number=number,
        manufacturer=profile.manufacturer,
        patient_orientation=_orientation(header),
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    copy_source(capture, copied_attributes(header))
    _describe(capture, draft, header, profile)
    stamp(capture, draft, profile)
    return capture


def _orientation(header: Dataset) -> tuple[str, str]:
    """The source's (0020,0020); a standard frontal view where it does not say."""
    try:
        value = [str(part) for part in header.get("PatientOrientation", None) or ()]
    except Exception:  # a malformed value is no orientation
        value = []
    return (value[0], value[1]) if len(value) == 2 and all(value) else ("L", "F")


def _describe(capture: Dataset, draft: Draft, header: Dataset, profile: SiteProfile) -> None:
    """What PS3.3 A.8.1 and C.8.6.1 ask beyond highdicom: a derived picture with text in its pixels."""
    capture.Modality = profile.sc_modality
    capture.ConversionType = "WSD"
    capture.ImageType = ["DERIVED", "SECONDARY"]
    capture.BurnedInAnnotation = "YES"
    capture.RecognizableVisualFeatures = "NO"
    capture.SeriesDescription = series_description("overlay picture", draft, header)
    capture.DerivationDescription = "Displayed radiograph with outlines and text by RadDraft; not verified"
    capture.DateOfSecondaryCapture = draft.completed_at_utc.strftime("%Y%m%d")
    capture.TimeOfSecondaryCapture = draft.completed_at_utc.strftime("%H%M%S")
    capture.BodyPartExamined = "CHEST"
    source = Dataset()
    source.ReferencedSOPClassUID = header.SOPClassUID
    source.ReferencedSOPInstanceUID = header.SOPInstanceUID
    purpose = Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator = "121322", "DCM"
    purpose.CodeMeaning = "Source image for image processing operation"
    source.PurposeOfReferenceCodeSequence = DicomSequence([purpose])
    capture.SourceImageSequence = DicomSequence([source])
