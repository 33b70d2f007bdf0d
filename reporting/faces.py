"""All DICOM objects of a Draft, as the bytes that are stored and sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO

from pydicom import Dataset

from clinical import Draft, Permanent
from reporting.presentation_state import build_gsps
from reporting.secondary_capture import build_not_assessed_sc, build_sc
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
    """One SR per Draft, one GSPS and one SC per Reading; the same arguments give the same bytes.

    A Draft without Readings has an SR that says why, and an SC of every image that could be displayed.

    Raises
    ------
    Permanent
        ``source-header-unusable`` if no image of the Draft has a usable header.
    """
    if not any(uid in sources for uid in draft.image_uids):
        raise Permanent(
            "source-header-unusable", "no image of the study has a header results could be made of"
        )
    faces = [_artefact("sr", build_sr(draft, sources, profile))]
    for number, reading in enumerate(draft.readings, start=1):
        uid = reading.image.sop_instance_uid
        faces.append(_artefact("pr", build_gsps(draft, reading, sources[uid], profile), uid))
        faces.append(_artefact("sc", build_sc(draft, reading, sources[uid], number, profile), uid))
    if not draft.readings:
        for number, outcome in enumerate(draft.other_images, start=1):
            uid = outcome.image.sop_instance_uid
            source = sources.get(uid)
            if source is not None and source.displayed is not None:
                faces.append(_artefact("sc", build_not_assessed_sc(draft, source, number, profile), uid))
    return tuple(faces)


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
