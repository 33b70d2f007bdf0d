"""HL7 version 2 both ways: a Draft as ORU^R01 over MLLP, and what others' messages say of its order and patient."""

from hl7_fhir.v2.acknowledgement import (
    EVENT_UNSUPPORTED,
    FIELD_MISSING,
    INTERNAL_ERROR,
    PROCESSING_ID_UNSUPPORTED,
    TYPE_UNSUPPORTED,
    VERSION_UNSUPPORTED,
    Refused,
    answer_to_garbage,
    answers_to,
)
from hl7_fhir.v2.answers import check_answer
from hl7_fhir.v2.charset import CHARSETS, NotEncodable
from hl7_fhir.v2.custom_fields import CustomField, ValueTooLong, custom_fields
from hl7_fhir.v2.fields import EVENTS
from hl7_fhir.v2.final_report import ReportedOrder, reported_orders
from hl7_fhir.v2.imaging_order import ImagingOrder, OrderControl, imaging_orders
from hl7_fhir.v2.message import Message, Segment, parse_message, readable
from hl7_fhir.v2.mllp import FrameReader, MllpClient, framed
from hl7_fhir.v2.oru import build_oru, lane_of, lane_of_message
from hl7_fhir.v2.patient_identifier import Authorities, PatientIdentifier
from hl7_fhir.v2.patient_merge import PatientMerge, patient_merges
from hl7_fhir.v2.profile import VERSIONS, OruProfile
from hl7_fhir.v2.withdrawal import withdrawal_of

__all__ = [
    "CHARSETS",
    "EVENTS",
    "EVENT_UNSUPPORTED",
    "FIELD_MISSING",
    "INTERNAL_ERROR",
    "PROCESSING_ID_UNSUPPORTED",
    "TYPE_UNSUPPORTED",
    "VERSIONS",
    "VERSION_UNSUPPORTED",
    "Authorities",
    "CustomField",
    "FrameReader",
    "ImagingOrder",
    "Message",
    "MllpClient",
    "NotEncodable",
    "OrderControl",
    "OruProfile",
    "PatientIdentifier",
    "PatientMerge",
    "Refused",
    "ReportedOrder",
    "Segment",
    "ValueTooLong",
    "answer_to_garbage",
    "answers_to",
    "build_oru",
    "check_answer",
    "custom_fields",
    "framed",
    "imaging_orders",
    "lane_of",
    "lane_of_message",
    "parse_message",
    "patient_merges",
    "readable",
    "reported_orders",
    "withdrawal_of",
]
