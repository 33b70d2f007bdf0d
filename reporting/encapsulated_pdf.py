"""The PDF of a Draft as a DICOM object (PS3.3 A.45.1)."""

from __future__ import annotations

from collections.abc import Mapping

from pydicom import Dataset
from pydicom import Sequence as DicomSequence
from pydicom.uid import EncapsulatedPDFStorage

from clinical import CodedTerm, Draft
from reporting.charset import writable
from reporting.equipment import (
    coded,
    copy_request_attributes,
    finish,
    made_at,
    result_uid,
    series_description,
)
from reporting.site_profile import DEFAULT_PROFILE, SiteProfile
from reporting.source import SourceImage
from reporting.sr_sources import report_sources
from reporting.stand_in import StandIn, restore_uids

_TITLE = CodedTerm("18748-4", "LN", "Diagnostic Imaging Report")


def build_encapsulated_pdf(
    draft: Draft,
    sources: Mapping[str, SourceImage],
    pdf: bytes,
    profile: SiteProfile = DEFAULT_PROFILE,
) -> Dataset:
    """`pdf` (of `report_pdf`) as an Encapsulated PDF: UNVERIFIED, with the images it speaks of as its sources.

    Raises
    ------
    Permanent
        ``source-header-unusable``, naming the attribute, if a read image or every image cannot be referenced.
    """
    found = report_sources(draft, sources)
    header = found.first
    made = made_at(draft, header, profile)
    document = Dataset()
    document.SOPClassUID, document.SOPInstanceUID = EncapsulatedPDFStorage, result_uid(draft, "pdf")
    document.StudyInstanceUID = next(iter(found.stand_ins.values())).evidence.StudyInstanceUID
    document.SeriesInstanceUID = result_uid(draft, "pdf-series")
    document.SeriesNumber, document.InstanceNumber = profile.pdf_series_number, 1
    document.Modality, document.ConversionType = "DOC", "WSD"
    document.SeriesDescription = series_description("DRAFT report (PDF)", draft, header, profile)
    document.ContentDate, document.ContentTime = made.strftime("%Y%m%d"), made.strftime("%H%M%S")
    document.AcquisitionDateTime = ""
    # The pages name the patient.
    document.BurnedInAnnotation = "YES"
    document.VerificationFlag = "UNVERIFIED"
    document.DocumentTitle = writable(profile.draft_title, header)
    document.ConceptNameCodeSequence = DicomSequence([coded(_TITLE)])
    document.SourceInstanceSequence = DicomSequence([_reference(one) for one in found.stand_ins.values()])
    document.MIMETypeOfEncapsulatedDocument = "application/pdf"
    document.EncapsulatedDocumentLength = len(pdf)
    document.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)
    restore_uids(document, found.true_uids)
    copy_request_attributes(document, header)
    finish(document, draft, header, profile)
    return document


def _reference(one: StandIn) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = one.evidence.SOPClassUID
    item.ReferencedSOPInstanceUID = one.evidence.SOPInstanceUID
    return item
