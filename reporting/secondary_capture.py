"""The burned-in picture as a Secondary Capture (PS3.3 A.8.1): readable in every PACS."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from highdicom.sc import SCImage
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom import Sequence as DicomSequence
from pydicom.uid import ExplicitVRLittleEndian

from clinical import CodedTerm, Draft, ImageRef, Reading
from reporting.charset import writable
from reporting.equipment import (
    coded,
    copy_request_attributes,
    finish,
    made_at,
    made_words,
    result_uid,
    series_description,
)
from reporting.numbering import numbered_findings
from reporting.overlay import not_read_text, reading_text
from reporting.picture import annotated_picture
from reporting.radiograph import LONGEST_SIDE_PX
from reporting.site_profile import DEFAULT_PROFILE, SiteProfile
from reporting.source import SourceImage, writable_element
from reporting.stand_in import StandIn, restore_uids, stand_in

_PURPOSE = CodedTerm("121322", "DCM", "Source image for image processing operation")
_SHORT_TEXT_LONGEST = 1024


def build_sc(
    draft: Draft, reading: Reading, source: SourceImage, profile: SiteProfile = DEFAULT_PROFILE
) -> Dataset:
    """RGB copy of a read image with outlines, legend and banner.

    Raises
    ------
    Permanent
        ``displayed-image-missing`` without a radiograph; ``source-header-unusable``, naming the attribute, if the
        image cannot be referenced.
    """
    number = 1 + [r.image.sop_instance_uid for r in draft.readings].index(reading.image.sop_instance_uid)
    place = f"image {number} of {len(draft.readings)}"
    text = reading_text(draft, reading, made_words(draft, source.header, profile), place, profile.banner)
    picture = annotated_picture(source.shown, numbered_findings(reading), text)
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
    place = f"image {number} of {len(draft.other_images)}"
    text = not_read_text(draft, made_words(draft, source.header, profile), place, profile.banner)
    return _capture(draft, annotated_picture(source.shown, (), text), image, source, number, profile)


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
    capture = rgb_capture(
        draft,
        picture,
        [one],
        header,
        profile,
        sop_instance_uid=result_uid(draft, "sc", image.sop_instance_uid),
        # The summary page is the first of the series, whether or not a site takes it.
        instance_number=1 + number,
        description="overlay picture",
        derivation=_derivation(draft, source),
    )
    orientation = writable_element(header, "PatientOrientation")
    if orientation is not None:
        capture.add(orientation)
    return capture


def rgb_capture(
    draft: Draft,
    picture: NDArray[np.uint8],
    sources: Sequence[StandIn],
    header: Dataset,
    profile: SiteProfile,
    *,
    sop_instance_uid: str,
    instance_number: int,
    description: str,
    derivation: str,
) -> Dataset:
    """A derived RGB picture with text in its pixels, in the series of the Draft's pictures.

    No window, rescale or spacing of the source: the pixels are RGB, and nobody is to measure on them.

    Parameters
    ----------
    picture
        uint8 (rows, columns, 3).
    sources
        Stand-ins of the images it was made from, one at least.
    """
    made = made_at(draft, header, profile)
    capture: Dataset = SCImage(
        # highdicom copies what it is given over and over; the picture goes in afterwards, as it is.
        pixel_array=np.zeros((1, 1, 3), dtype=np.uint8),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        study_instance_uid=sources[0].evidence.StudyInstanceUID,
        series_instance_uid=result_uid(draft, "sc-series"),
        series_number=profile.sc_series_number,
        sop_instance_uid=sop_instance_uid,
        instance_number=instance_number,
        manufacturer=profile.manufacturer,
        patient_orientation=("L", "F"),
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    capture.Rows, capture.Columns = picture.shape[:2]
    capture.PixelData = picture.tobytes() if picture.size % 2 == 0 else picture.tobytes() + b"\0"
    capture.Modality = profile.sc_modality
    capture.ConversionType = "WSD"
    capture.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    capture.BurnedInAnnotation = "YES"
    capture.RecognizableVisualFeatures = "NO"
    capture.SeriesDescription = series_description(description, draft, header, profile)
    capture.DerivationDescription = writable(derivation, header)[:_SHORT_TEXT_LONGEST]
    capture.DateOfSecondaryCapture = made.strftime("%Y%m%d")
    capture.TimeOfSecondaryCapture = made.strftime("%H%M%S")
    capture.ContentDate, capture.ContentTime = capture.DateOfSecondaryCapture, capture.TimeOfSecondaryCapture
    # Laterality (0020,0060) may only stay away where the body part is not a paired one (PS3.3 C.7.3.1).
    capture.BodyPartExamined = "CHEST"
    # highdicom asks for an orientation; the image's own is the only one there is, and empty where it has none.
    capture.PatientOrientation = ""
    capture.SourceImageSequence = DicomSequence([_reference(one.evidence) for one in sources])
    restore_uids(capture, {clean: true for one in sources for clean, true in one.true_uids.items()})
    copy_request_attributes(capture, header)
    finish(capture, draft, header, profile)
    return capture


def _derivation(draft: Draft, source: SourceImage) -> str:
    steps = ", ".join(source.shown.steps) or "identity"
    smaller = source.shown.scale < 1.0
    size = f"; reduced to {LONGEST_SIDE_PX} pixels on the longer side" if smaller else ""
    return (
        f"Radiograph as displayed ({steps}){size}; outlines and text added by RadDraft {draft.product_version}, "
        f"{draft.model.name} {draft.model.version}; not verified"
    )


def _reference(evidence: Dataset) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID = evidence.SOPClassUID
    reference.ReferencedSOPInstanceUID = evidence.SOPInstanceUID
    reference.PurposeOfReferenceCodeSequence = DicomSequence([coded(_PURPOSE)])
    return reference
