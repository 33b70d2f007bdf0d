"""Draft to EHR: the FHIR transaction, the gate it passes, and the client that writes it."""

from hl7_fhir.access import Access, BearerToken, OpenAccess
from hl7_fhir.bundle import ArtefactReference, build_bundle, report_identifier
from hl7_fhir.capability import Way
from hl7_fhir.client import FhirClient, PostResult
from hl7_fhir.gate import check_bundle
from hl7_fhir.header import StudyHeader
from hl7_fhir.profile import FhirProfile, PatientUnmatched
from hl7_fhir.retraction import retraction_of

__all__ = [
    "Access",
    "ArtefactReference",
    "BearerToken",
    "FhirClient",
    "FhirProfile",
    "OpenAccess",
    "PatientUnmatched",
    "PostResult",
    "StudyHeader",
    "Way",
    "build_bundle",
    "check_bundle",
    "report_identifier",
    "retraction_of",
]
