"""The burned-in picture as a Secondary Capture (PS3.3 A.8.1): readable in every PACS."""

from __future__ import annotations

import numpy as np
from highdicom.sc import SCImage
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom import Sequence as DicomSequence
from pydicom.uid import ExplicitVRLittleEndian

from clinical import CodedTerm, Draft, ImageRef, Permanent, Reading
from imaging import DisplayedImage
from reporting.charset import writable
from reporting.equipment import (
    coded,
    copy_request_attributes,
    finish,
    made_at,
    result_uid,
    series_description,
)
from reporting.numbering import numbered_findings
from reporting.overlay import not_read_text, reading_text
from reporting.picture import LONGEST_SIDE_PX, annotated_picture
from reporting.site_profile import DEFAULT_PROFILE, SiteProfile
from reporting.source import SourceImage, writable_element
from reporting.stand_in import restore_uids, stand_in

_PURPOSE = CodedTerm("121322", "DCM", "Source image for image processing operation")
_SHORT_TEXT_LONGEST = 1024


def build_sc(
    draft: Draft, reading: Reading, source: SourceImage, profile: SiteProfile = DEFAULT_PROFILE
) -> Dataset:
    """RGB copy of a read image with outlines, legend and banner.

    Raises
    ------
    Permanent
        ``displayed-image-missing`` without displayed pixels; ``source-header-unusable``, naming the attribute, if the
        image cannot be referenced.
    """
    displayed = _displayed(source)
    number = 1 + [r.image.sop_instance_uid for r in draft.readings].index(reading.image.sop_instance_uid)
    place = f"image {number} of {len(draft.readings)}"
    text = reading_text(draft, reading, _made(draft, source, profile), place, profile.banner)
    picture = annotated_picture(displayed, numbered_findings(reading), text)
    return _capture(draft, picture, reading.image, source, number, profile)


def build_not_read_sc(
    draft: Draft, image: ImageRef, source: SourceImage, number: int, profile: SiteProfile = DEFAULT_PROFILE
) -> Dataset:
    """RGB copy of an image nobody read, with the reason in its band; `number` counts them from 1.

    Raises
    ------
    Permanent
        As `build_sc`.
    """
    displayed = _displayed(source)
    place = f"image {number} of {len(draft.other_images)}"
    text = not_read_text(draft, _made(draft, source, profile), place, profile.banner)
    return _capture(draft, annotated_picture(displayed, (), text), image, source, number, profile)


def _displayed(source: SourceImage) -> DisplayedImage:
    if source.displayed is None:
        raise Permanent("displayed-image-missing", "a picture needs the displayed pixels of its image")
    return source.displayed


def _made(draft: Draft, source: SourceImage, profile: SiteProfile) -> str:
    made = made_at(draft, source.header, profile)
    offset = made.strftime("%z")
    zone = "UTC" if offset == "+0000" else f"UTC{offset[:3]}:{offset[3:]}"
    return f"{made:%Y-%m-%d %H:%M:%S} {zone}"


def _capture(
    draft: Draft,
    picture: NDArray[np.uint8],
    image: ImageRef,
    source: SourceImage,
    number: int,
    profile: SiteProfile,
) -> Dataset:
    header = source.header
    one = stand_in(header, draft.study_instance_uid, rows=image.rows, columns=image.columns)
    capture: Dataset = SCImage(
        pixel_array=np.ascontiguousarray(picture),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        study_instance_uid=one.evidence.StudyInstanceUID,
        series_instance_uid=result_uid(draft, "sc-series"),
        series_number=profile.sc_series_number,
        sop_instance_uid=result_uid(draft, "sc", image.sop_instance_uid),
        instance_number=number,
        manufacturer=profile.manufacturer,
        patient_orientation=("L", "F"),
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    _describe(capture, draft, source, profile)
    capture.SourceImageSequence = DicomSequence([_reference(one.evidence)])
    restore_uids(capture, one.true_uids)
    copy_request_attributes(capture, header)
    finish(capture, draft, header, profile)
    return capture


def _describe(capture: Dataset, draft: Draft, source: SourceImage, profile: SiteProfile) -> None:
    """A derived picture with text in its pixels.

    No window, rescale or spacing of the source: the pixels are RGB, and nobody is to measure on them.
    """
    header = source.header
    made = made_at(draft, header, profile)
    capture.Modality = profile.sc_modality
    capture.ConversionType = "WSD"
    capture.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    capture.BurnedInAnnotation = "YES"
    capture.RecognizableVisualFeatures = "NO"
    capture.SeriesDescription = series_description("overlay picture", draft, header)
    capture.DerivationDescription = _derivation(draft, source)
    capture.DateOfSecondaryCapture = made.strftime("%Y%m%d")
    capture.TimeOfSecondaryCapture = made.strftime("%H%M%S")
    capture.ContentDate, capture.ContentTime = capture.DateOfSecondaryCapture, capture.TimeOfSecondaryCapture
    # Laterality (0020,0060) may only stay away where the body part is not a paired one (PS3.3 C.7.3.1).
    capture.BodyPartExamined = "CHEST"
    # highdicom asks for an orientation; the image's own is the only one there is, and empty where it has none.
    capture.PatientOrientation = ""
    orientation = writable_element(header, "PatientOrientation")
    if orientation is not None:
        capture.add(orientation)


def _derivation(draft: Draft, source: SourceImage) -> str:
    displayed = _displayed(source)
    smaller = max(displayed.rows, displayed.columns) > LONGEST_SIDE_PX
    steps = ", ".join(displayed.steps) or "identity"
    size = f"; reduced to {LONGEST_SIDE_PX} pixels on the longer side" if smaller else ""
    words = (
        f"Radiograph as displayed ({steps}){size}; outlines and text added by RadDraft {draft.product_version}, "
        f"{draft.model.name} {draft.model.version}; not verified"
    )
    return writable(words, source.header)[:_SHORT_TEXT_LONGEST]


def _reference(evidence: Dataset) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID = evidence.SOPClassUID
    reference.ReferencedSOPInstanceUID = evidence.SOPInstanceUID
    reference.PurposeOfReferenceCodeSequence = DicomSequence([coded(_PURPOSE)])
    return reference
