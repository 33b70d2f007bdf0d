"""Draft to EHR: the FHIR transaction and its client."""

from hl7_fhir.bundle import ArtefactReference, build_bundle, report_identifier
from hl7_fhir.client import FhirClient, PostResult
from hl7_fhir.header import StudyHeader
from hl7_fhir.profile import FhirProfile, PatientUnmatched

__all__ = [
    "ArtefactReference",
    "FhirClient",
    "FhirProfile",
    "PatientUnmatched",
    "PostResult",
    "StudyHeader",
    "build_bundle",
    "report_identifier",
]
