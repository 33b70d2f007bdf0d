"""Draft to DICOM objects and pictures: TID 1500 SR, GSPS, Secondary Capture, overlay, text."""

from reporting.answer_picture import answer_png
from reporting.faces import Artefact, build_faces
from reporting.overlay import overlay_png
from reporting.presentation_state import build_gsps
from reporting.report_text import report_text
from reporting.secondary_capture import build_sc
from reporting.site_profile import SiteProfile
from reporting.source import SourceImage, header_digest
from reporting.structured_report import build_sr

__all__ = [
    "Artefact",
    "SiteProfile",
    "SourceImage",
    "answer_png",
    "build_faces",
    "build_gsps",
    "build_sc",
    "build_sr",
    "header_digest",
    "overlay_png",
    "report_text",
]
