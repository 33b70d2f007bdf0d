"""The face of a Draft that one EHR gets: a FHIR transaction or an HL7 v2 message, by the destination's naming."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydicom import Dataset

from clinical import Draft, Finding
from hl7_fhir import FhirProfile, PatientUnmatched, StudyHeader
from hl7_fhir.v2 import NotEncodable, OruProfile, build_oru, lane_of
from reporting import report_text
from service.faces import ORU, Face, Unmatched, fhir_face


@dataclass(frozen=True, slots=True)
class Ehr:
    """Where a report goes, and how patients and orders are named there."""

    name: str
    naming: FhirProfile | OruProfile


def ehr_face(
    draft: Draft, header: Dataset, dicom: Sequence[Face], ehr: Ehr, withdrawn: Sequence[Finding] = ()
) -> Face | Unmatched:
    """The report for one EHR, or why it is held.

    Parameters
    ----------
    dicom
        The DICOM results of the Draft, which the report points at.
    """
    if isinstance(ehr.naming, FhirProfile):
        return fhir_face(draft, header, dicom, ehr.naming, ehr.name, withdrawn)
    return _oru_face(draft, StudyHeader.from_dataset(header), ehr.name, ehr.naming, withdrawn)


def _oru_face(
    draft: Draft, header: StudyHeader, name: str, naming: OruProfile, withdrawn: Sequence[Finding]
) -> Face | Unmatched:
    text = report_text(draft)
    try:
        message = build_oru(draft, header, naming, receiver=name, report_text=text, withdrawn=withdrawn)
    except (PatientUnmatched, NotEncodable) as error:
        return Unmatched(name, error.code, error.message, ORU)
    return Face(ORU, "oru_r01.hl7", message, destination=name, lane=lane_of(name, header))
