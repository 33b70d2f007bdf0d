"""All DICOM objects of a Draft, as the bytes that are stored and sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO

from pydicom import Dataset

from clinical import Draft, Permanent
from reporting.presentation_luts import is_grayscale
from reporting.presentation_state import build_gsps
from reporting.secondary_capture import build_not_read_sc, build_sc
from reporting.site_profile import DEFAULT_PROFILE, SiteProfile
from reporting.source import SourceImage
from reporting.structured_report import build_sr


@dataclass(frozen=True, slots=True)
class Artefact:
    """One DICOM object, complete with preamble and file meta information.

    Attributes
    ----------
    kind
        ``"sr"``, ``"pr"`` or ``"sc"``.
    image_sop_instance_uid
        The image it belongs to; empty for the study's report.
    """

    kind: str
    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str
    content: bytes
    image_sop_instance_uid: str = ""


def build_faces(
    draft: Draft, sources: Mapping[str, SourceImage], profile: SiteProfile = DEFAULT_PROFILE
) -> tuple[Artefact, ...]:
    """Every DICOM object of a Draft; the same arguments give the same bytes.

    One SR per Draft; one presentation state and one Secondary Capture per Reading, findings or none. A source in
    colours has no presentation state, which is for grayscale images only. A Draft without Readings has an SR that
    says why, and a Secondary Capture of every image that could be displayed.

    Parameters
    ----------
    sources
        By SOP Instance UID: the header of every image of the Draft that has a readable one, and displayed pixels of
        every read image.

    Raises
    ------
    Permanent
        ``source-header-unusable``, naming the attribute, if a read image or every image of the Draft cannot be
        referenced; ``displayed-image-missing`` if a read image comes without its displayed pixels.
    """
    faces = [_artefact("sr", build_sr(draft, sources, profile))]
    for reading in draft.readings:
        uid = reading.image.sop_instance_uid
        if is_grayscale(sources[uid]):
            faces.append(_artefact("pr", build_gsps(draft, reading, sources[uid], profile), uid))
        faces.append(_artefact("sc", build_sc(draft, reading, sources[uid], profile), uid))
    return tuple(faces) if draft.readings else (*faces, *_pictures_of_unread(draft, sources, profile))


def _pictures_of_unread(
    draft: Draft, sources: Mapping[str, SourceImage], profile: SiteProfile
) -> list[Artefact]:
    pictures = []
    for number, outcome in enumerate(draft.other_images, start=1):
        image = outcome.image
        source = sources.get(image.sop_instance_uid)
        if source is None or source.displayed is None:
            continue
        try:
            picture = build_not_read_sc(draft, image, source, number, profile)
        except Permanent:
            continue  # an image that cannot be referenced; the report says why it was not read
        pictures.append(_artefact("sc", picture, image.sop_instance_uid))
    return pictures


def _artefact(kind: str, dataset: Dataset, image_uid: str = "") -> Artefact:
    out = BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return Artefact(
        kind=kind,
        sop_instance_uid=str(dataset.SOPInstanceUID),
        sop_class_uid=str(dataset.SOPClassUID),
        series_instance_uid=str(dataset.SeriesInstanceUID),
        content=out.getvalue(),
        image_sop_instance_uid=image_uid,
    )
