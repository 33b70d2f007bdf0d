"""Telling: a Draft's faces are built once, stored with their digest, and put into the outbox."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO

from pydicom import Dataset, dcmread

from clinical import Draft, Finding, Permanent, draft_to_json
from hl7_fhir import ArtefactReference, FhirProfile, PatientUnmatched, StudyHeader, build_bundle
from reporting import (
    SR_LADDER,
    Artefact,
    ResultReference,
    SiteProfile,
    SourceImage,
    SrClass,
    build_faces,
    overlay_png,
    report_pdf,
    report_text,
)
from service.book.states import FHIR_RETRACTION_KIND, ORU_RETRACTION_KIND, REJECTION_KIND

# Kinds every destination of type "folder" and `raddraft analyze` get beside the DICOM objects.
OVERLAY = "overlay"
DRAFT = "draft"
REPORT = "report"
PDF_PAGES = "report-pdf"
FHIR = "fhir"
FHIR_RETRACTION = FHIR_RETRACTION_KIND
ORU = "oru"
ORU_RETRACTION = ORU_RETRACTION_KIND
REJECTION = REJECTION_KIND
# What is always built: the overlay of the console and the references of FHIR reports are about these.
ALWAYS = frozenset({"sr", "pr", "sc"})
# The report in SOP classes for archives that refuse the first; no face for anybody else.
LOWER_RUNGS = frozenset(rung.kind for rung in SR_LADDER[1:])


@dataclass(frozen=True, slots=True)
class Face:
    """One built face with the name it has in a folder.

    Attributes
    ----------
    destination
        Name of the one destination it was made for; empty where it is the same for all.
    lane
        Deliveries of one lane leave one after the other; empty where the order does not matter.
    series_instance_uid, sop_class_uid, patient_digest
        Of a DICOM object.
    """

    kind: str
    file_name: str
    content: bytes
    sop_instance_uid: str = ""
    image_sop_instance_uid: str = ""
    destination: str = ""
    lane: str = ""
    series_instance_uid: str = ""
    sop_class_uid: str = ""
    patient_digest: str = ""


@dataclass(frozen=True, slots=True)
class Unmatched:
    """A destination that gets nothing until a person maps the patient's identifier, or mends its settings."""

    destination: str
    code: str
    reason: str
    kind: str = FHIR


def dicom_faces(
    draft: Draft,
    sources: Mapping[str, SourceImage],
    profile: SiteProfile,
    *,
    kinds: frozenset[str] = frozenset(),
    earlier: Sequence[ResultReference] = (),
    pdf: bytes = b"",
    indication: str = "",
) -> list[Face]:
    """The DICOM objects of a Draft: those always built, and those whose kinds are asked for beside them."""
    classes = {rung for rung in SrClass if rung.kind in kinds | ALWAYS}
    built = build_faces(
        draft,
        sources,
        profile,
        kinds=kinds | ALWAYS,
        sr_classes=frozenset(classes),
        earlier=earlier,
        pdf=pdf,
        indication=indication,
    )
    return [_dicom_face(artefact, number) for number, artefact in enumerate(built, start=1)]


def _dicom_face(artefact: Artefact, number: int) -> Face:
    return Face(
        kind=artefact.kind,
        file_name=f"{number:02d}_{artefact.kind}.dcm",
        content=artefact.content,
        sop_instance_uid=artefact.sop_instance_uid,
        image_sop_instance_uid=artefact.image_sop_instance_uid,
        series_instance_uid=artefact.series_instance_uid,
        sop_class_uid=artefact.sop_class_uid,
        patient_digest=artefact.patient_digest,
    )


def picture_faces(draft: Draft, sources: Mapping[str, SourceImage]) -> list[Face]:
    """An overlay picture per Reading."""
    faces = []
    for number, reading in enumerate(draft.readings, start=1):
        uid = reading.image.sop_instance_uid
        source = sources.get(uid)
        if source is not None and source.radiograph is not None:
            content = overlay_png(reading, source, statement=draft.model.statement)
            faces.append(Face(OVERLAY, f"overlay_{number:02d}.png", content, image_sop_instance_uid=uid))
    return faces


def text_faces(draft: Draft, profile: SiteProfile, indication: str = "") -> list[Face]:
    """The Draft itself and its plain text."""
    return [
        Face(DRAFT, "draft.json", json.dumps(json.loads(draft_to_json(draft)), indent=2).encode()),
        Face(REPORT, "report.txt", report_text(draft, profile, indication=indication).encode("utf-8")),
    ]


def pdf_face(
    draft: Draft, sources: Mapping[str, SourceImage], profile: SiteProfile, indication: str = ""
) -> Face:
    """The Draft as pages."""
    return Face(PDF_PAGES, "report.pdf", report_pdf(draft, sources, profile, indication=indication))


def fhir_face(
    draft: Draft,
    header: Dataset,
    dicom: Sequence[Face],
    profile: FhirProfile,
    destination: str,
    *,
    text: str,
    pdf: bytes = b"",
    withdrawn: Sequence[Finding] = (),
) -> Face | Unmatched:
    """The FHIR transaction for one destination, or why the patient could not be named there."""
    references = [_reference(face) for face in dicom if face.kind in ALWAYS]
    try:
        bundle = build_bundle(
            draft,
            StudyHeader.from_dataset(header),
            profile,
            references,
            report_text=text,
            pdf=pdf,
            withdrawn=withdrawn,
        )
    except PatientUnmatched as error:
        return Unmatched(destination, error.code, error.message)
    content = json.dumps(bundle, indent=2, ensure_ascii=False, sort_keys=True).encode("utf-8")
    return Face(FHIR, "fhir_bundle.json", content, destination=destination)


def _reference(face: Face) -> ArtefactReference:
    header = dcmread(BytesIO(face.content), stop_before_pixels=True)
    return ArtefactReference(
        kind=face.kind,
        sop_class_uid=str(header.SOPClassUID),
        sop_instance_uid=str(header.SOPInstanceUID),
        series_instance_uid=str(header.SeriesInstanceUID),
    )


def first_header(draft: Draft, sources: Mapping[str, SourceImage]) -> Dataset:
    """Header of the first image of the Draft that has one: patient and study attributes come from it.

    Raises
    ------
    Permanent
        ``no-source-header`` if no image's header could be read.
    """
    for uid in draft.image_uids:
        source = sources.get(uid)
        if source is not None:
            return source.header
    raise Permanent(
        "no-source-header", "no image of the study has a readable header to copy the patient from"
    )
