"""Draft to DICOM objects and pictures: TID 1500 SR, narrative SR, GSPS, Secondary Capture, PDF, overlay, text."""

from reporting.answer_picture import answer_png
from reporting.faces import (
    ALL_KINDS,
    ALL_SR_CLASSES,
    OBJECT_KINDS,
    Artefact,
    as_artefact,
    build_faces,
    patient_digest_of,
)
from reporting.narrative_report import build_narrative
from reporting.overlay import overlay_png
from reporting.presentation_state import build_gsps
from reporting.radiograph import Radiograph, radiograph_of
from reporting.references import ResultReference
from reporting.rejection import RejectionReason, build_rejection
from reporting.report_pdf import report_pdf
from reporting.report_text import report_text
from reporting.secondary_capture import build_sc
from reporting.site_profile import Charset, NarrativeClass, SiteProfile
from reporting.source import SourceImage, header_digest
from reporting.sr_ladder import SR_LADDER, SrClass
from reporting.structured_report import build_sr
from reporting.summary_page import build_summary

__all__ = [
    "ALL_KINDS",
    "ALL_SR_CLASSES",
    "OBJECT_KINDS",
    "SR_LADDER",
    "Artefact",
    "Charset",
    "NarrativeClass",
    "Radiograph",
    "RejectionReason",
    "ResultReference",
    "SiteProfile",
    "SourceImage",
    "SrClass",
    "answer_png",
    "as_artefact",
    "build_faces",
    "build_gsps",
    "build_narrative",
    "build_rejection",
    "build_sc",
    "build_sr",
    "build_summary",
    "header_digest",
    "overlay_png",
    "patient_digest_of",
    "radiograph_of",
    "report_pdf",
    "report_text",
]
