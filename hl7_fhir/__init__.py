"""Draft to EHR: the FHIR transaction, the gate it passes, and the client that writes it."""

from hl7_fhir.access import Access, BearerToken, OpenAccess
from hl7_fhir.audit_event import AuditFact, Kind, audit_event
from hl7_fhir.audit_message import audit_message
from hl7_fhir.bundle import ArtefactReference, build_bundle, report_identifier
from hl7_fhir.capability import NO_WAY_TO_WRITE, Way
from hl7_fhir.client import FhirClient, PostResult
from hl7_fhir.client_statement import client_statement
from hl7_fhir.contained_report import contained_report
from hl7_fhir.gate import check_bundle
from hl7_fhir.header import StudyHeader
from hl7_fhir.keys import KeyRing, load_key_ring
from hl7_fhir.matching import HELD_CODES, WAITING_CODES, Wanted
from hl7_fhir.patients import Demographics
from hl7_fhir.profile import R4, FhirProfile, PatientUnmatched
from hl7_fhir.retraction import retraction_of
from hl7_fhir.scopes import WANTED as WANTED_SCOPES
from hl7_fhir.scopes import WANTED_FOR_DOCUMENTS as DOCUMENT_SCOPES
from hl7_fhir.scopes import WANTED_FOR_REPORTS as REPORT_SCOPES
from hl7_fhir.scopes import WANTED_TO_AUDIT as AUDIT_SCOPES
from hl7_fhir.scopes import WANTED_TO_FOLLOW as FOLLOWING_SCOPES
from hl7_fhir.scopes import WANTED_TO_MATCH as MATCHING_SCOPES
from hl7_fhir.scopes import WANTED_TO_SUBSCRIBE as SUBSCRIBING_SCOPES
from hl7_fhir.signed_reports import SignedReport
from hl7_fhir.smart import SmartBackend, SmartClient
from hl7_fhir.subscription import Kept, Placed, Subscribed, Webhook

__all__ = [
    "AUDIT_SCOPES",
    "DOCUMENT_SCOPES",
    "FOLLOWING_SCOPES",
    "HELD_CODES",
    "MATCHING_SCOPES",
    "NO_WAY_TO_WRITE",
    "R4",
    "REPORT_SCOPES",
    "SUBSCRIBING_SCOPES",
    "WAITING_CODES",
    "WANTED_SCOPES",
    "Access",
    "ArtefactReference",
    "AuditFact",
    "BearerToken",
    "Demographics",
    "FhirClient",
    "FhirProfile",
    "Kept",
    "KeyRing",
    "Kind",
    "OpenAccess",
    "PatientUnmatched",
    "Placed",
    "PostResult",
    "SignedReport",
    "SmartBackend",
    "SmartClient",
    "StudyHeader",
    "Subscribed",
    "Wanted",
    "Way",
    "Webhook",
    "audit_event",
    "audit_message",
    "build_bundle",
    "check_bundle",
    "client_statement",
    "contained_report",
    "load_key_ring",
    "report_identifier",
    "retraction_of",
]
