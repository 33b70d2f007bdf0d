"""The face of a Draft that one EHR gets: a FHIR transaction or an HL7 v2 message, by the destination's naming."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydicom import Dataset

from clinical import Draft, Finding
from hl7_fhir import FhirProfile, PatientUnmatched, StudyHeader
from hl7_fhir.v2 import NotEncodable, OruProfile, ValueTooLong, build_oru, lane_of
from service.faces import ORU, Face, Unmatched, fhir_face


@dataclass(frozen=True, slots=True)
class Ehr:
    """Where a report goes, and how patients and orders are named there."""

    name: str
    naming: FhirProfile | OruProfile

    def patient_system(self, header: StudyHeader) -> str:
        """Whose number the study's Patient ID is: a system (FHIR) or an assigning authority (HL7 v2).

        Raises
        ------
        PatientUnmatched
            If the settings do not say.
        """
        if isinstance(self.naming, FhirProfile):
            return self.naming.patient_system(header)
        return "&".join(self.naming.assigning_authority(header))


@dataclass(frozen=True, slots=True)
class ReportForms:
    """The draft as people read it: plain text, and pages where they were made."""

    text: str
    pdf: bytes = b""


def ehr_face(
    draft: Draft,
    header: Dataset,
    dicom: Sequence[Face],
    ehr: Ehr,
    forms: ReportForms,
    withdrawn: Sequence[Finding] = (),
) -> Face | Unmatched:
    """The report for one EHR, or why it is held.

    Parameters
    ----------
    dicom
        The DICOM results of the Draft, which the report points at.
    forms
        The draft in words; an EHR that takes pages gets those as well.
    """
    if isinstance(ehr.naming, FhirProfile):
        return fhir_face(
            draft, header, dicom, ehr.naming, ehr.name, text=forms.text, pdf=forms.pdf, withdrawn=withdrawn
        )
    return _oru_face(draft, StudyHeader.from_dataset(header), ehr, ehr.naming, forms, withdrawn)


def _oru_face(
    draft: Draft,
    header: StudyHeader,
    ehr: Ehr,
    naming: OruProfile,
    forms: ReportForms,
    withdrawn: Sequence[Finding],
) -> Face | Unmatched:
    try:
        message = build_oru(
            draft,
            header,
            naming,
            receiver=ehr.name,
            report_text=forms.text,
            pdf=forms.pdf,
            withdrawn=withdrawn,
        )
    except (PatientUnmatched, NotEncodable, ValueTooLong) as error:
        return Unmatched(ehr.name, error.code, error.message, ORU)
    return Face(ORU, "oru_r01.hl7", message, destination=ehr.name, lane=lane_of(ehr.name, header))
