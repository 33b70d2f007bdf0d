"""All DICOM objects of a Draft, as the bytes that are stored and sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO

from pydicom import Dataset

from clinical import Draft, Permanent, patient_digest
from reporting.critical_flag import build_critical_flag
from reporting.encapsulated_pdf import build_encapsulated_pdf
from reporting.narrative_report import build_narrative
from reporting.presentation_luts import is_grayscale
from reporting.presentation_state import build_gsps
from reporting.references import ResultReference
from reporting.report_pdf import report_pdf
from reporting.secondary_capture import build_not_read_sc, build_sc
from reporting.site_profile import DEFAULT_PROFILE, SiteProfile
from reporting.source import SourceImage
from reporting.sr_ladder import SR_LADDER, SrClass, restated
from reporting.structured_report import build_sr
from reporting.summary_page import build_summary
from reporting.utf8 import sources_in_policy

# Kinds of object a site may ask for, in the order they are built; "ko" is made when a result is taken back, "critical"
# of a Draft with a critical finding.
OBJECT_KINDS = ("sr", "pr", "sc", "summary", "narrative", "pdf", "critical", "ko")
ALL_KINDS = frozenset(OBJECT_KINDS)
ALL_SR_CLASSES = frozenset(SR_LADDER)


@dataclass(frozen=True, slots=True)
class Artefact:
    """One DICOM object, complete with preamble and file meta information.

    Attributes
    ----------
    kind
        ``"sr"`` (Comprehensive 3D), ``"sr-comprehensive"``, ``"sr-enhanced"``, ``"pr"``, ``"sc"``, ``"summary"``,
        ``"narrative"``, ``"pdf"``, ``"critical"`` or ``"ko"``.
    image_sop_instance_uid
        The image it belongs to; empty for what speaks of the study.
    patient_digest
        Of the patient it names.
    """

    kind: str
    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str
    content: bytes
    image_sop_instance_uid: str = ""
    patient_digest: str = ""


def build_faces(
    draft: Draft,
    sources: Mapping[str, SourceImage],
    profile: SiteProfile = DEFAULT_PROFILE,
    *,
    kinds: frozenset[str] = frozenset({"sr", "pr", "sc"}),
    sr_classes: frozenset[SrClass] = frozenset({SrClass.COMPREHENSIVE_3D}),
    earlier: Sequence[ResultReference] = (),
    pdf: bytes = b"",
    indication: str = "",
) -> tuple[Artefact, ...]:
    """Every DICOM object of a Draft that is asked for; the same arguments give the same bytes.

    Of the study: one report per class of `sr_classes`, one summary page, narrative report and PDF. Of each Reading: one
    presentation state and one Secondary Capture, findings or none. Of a critical finding: a flag that points at its
    images and at the report, where both are asked for. A source in colours has no presentation state, which is for
    grayscale images only. A Draft without Readings has documents that say why, and a Secondary Capture
    of every image that could be displayed.

    Parameters
    ----------
    sources
        By SOP Instance UID: the header of every image of the Draft that has a readable one, and the radiograph of
        every read image.
    earlier
        Results of the version before, which the new documents name as their predecessors.
    pdf
        The PDF where it was made before (`report_pdf`).
    indication
        Why the images were ordered, one line in the order's words; narrative report and PDF say it.

    Raises
    ------
    Permanent
        ``source-header-unusable``, naming the attribute, if a read image or every image of the Draft cannot be
        referenced; ``displayed-image-missing`` if a read image comes without its radiograph.
    """
    sources = sources_in_policy(sources, profile.charset)
    reports = _reports(draft, sources, profile, sr_classes, earlier) if "sr" in kinds else []
    faces = [artefact for artefact in reports if artefact.kind == "sr"]
    for reading in draft.readings:
        uid = reading.image.sop_instance_uid
        if "pr" in kinds and is_grayscale(sources[uid]):
            faces.append(_artefact("pr", build_gsps(draft, reading, sources[uid], profile), uid))
        if "sc" in kinds:
            faces.append(_artefact("sc", build_sc(draft, reading, sources[uid], profile), uid))
    if "sc" in kinds and not draft.readings:
        faces += _pictures_of_unread(draft, sources, profile)
    if "summary" in kinds:
        faces.append(_artefact("summary", build_summary(draft, sources, profile)))
    if "narrative" in kinds:
        faces.append(
            _artefact("narrative", build_narrative(draft, sources, profile, earlier, indication=indication))
        )
    if "pdf" in kinds:
        pages = pdf or report_pdf(draft, sources, profile, indication=indication)
        faces.append(_artefact("pdf", build_encapsulated_pdf(draft, sources, pages, profile)))
    if "critical" in kinds and draft.critical and reports:
        faces.append(
            _artefact("critical", build_critical_flag(draft, sources, _named(draft, reports[0]), profile))
        )
    return (*faces, *(artefact for artefact in reports if artefact.kind != "sr"))


def _named(draft: Draft, artefact: Artefact) -> ResultReference:
    return ResultReference(
        artefact.kind,
        draft.study_instance_uid,
        artefact.series_instance_uid,
        artefact.sop_class_uid,
        artefact.sop_instance_uid,
    )


def _reports(
    draft: Draft,
    sources: Mapping[str, SourceImage],
    profile: SiteProfile,
    sr_classes: frozenset[SrClass],
    earlier: Sequence[ResultReference],
) -> list[Artefact]:
    first = _artefact("sr", build_sr(draft, sources, profile, earlier))
    return [
        first
        if rung is SrClass.COMPREHENSIVE_3D
        else _artefact(rung.kind, restated(first.content, draft, rung, profile, earlier))
        for rung in SR_LADDER
        if rung in sr_classes
    ]


def _pictures_of_unread(
    draft: Draft, sources: Mapping[str, SourceImage], profile: SiteProfile
) -> list[Artefact]:
    pictures = []
    for number, outcome in enumerate(draft.other_images, start=1):
        image = outcome.image
        source = sources.get(image.sop_instance_uid)
        if source is None or source.radiograph is None:
            continue
        try:
            picture = build_not_read_sc(draft, image, source, number, profile)
        except Permanent:
            continue  # an image that cannot be referenced; the report says why it was not read
        pictures.append(_artefact("sc", picture, image.sop_instance_uid))
    return pictures


def as_artefact(kind: str, dataset: Dataset) -> Artefact:
    """A complete object as the bytes that are stored and sent."""
    return _artefact(kind, dataset)


def _artefact(kind: str, dataset: Dataset, image_uid: str = "") -> Artefact:
    if "PixelData" in dataset:
        # As a stream it is written once, where a value would be copied on its way.
        dataset["PixelData"].value = BytesIO(dataset.PixelData)
    out = BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return Artefact(
        kind=kind,
        sop_instance_uid=str(dataset.SOPInstanceUID),
        sop_class_uid=str(dataset.SOPClassUID),
        series_instance_uid=str(dataset.SeriesInstanceUID),
        content=out.getvalue(),
        image_sop_instance_uid=image_uid,
        patient_digest=patient_digest_of(dataset),
    )


def patient_digest_of(header: Dataset) -> str:
    """Whose an object is; see `clinical.patient_digest`."""
    return patient_digest(*(str(header.get(name) or "") for name in ("PatientID", "IssuerOfPatientID")))
