"""Draft to HL7 version 2: the ORU^R01 message, the MLLP connection it leaves by, and what its answer means."""

from hl7_fhir.v2.answers import check_answer
from hl7_fhir.v2.charset import CHARSETS, NotEncodable
from hl7_fhir.v2.message import Message, Segment, parse_message
from hl7_fhir.v2.mllp import MllpClient
from hl7_fhir.v2.oru import build_oru, lane_of
from hl7_fhir.v2.profile import OruProfile
from hl7_fhir.v2.withdrawal import withdrawal_of

__all__ = [
    "CHARSETS",
    "Message",
    "MllpClient",
    "NotEncodable",
    "OruProfile",
    "Segment",
    "build_oru",
    "check_answer",
    "lane_of",
    "parse_message",
    "withdrawal_of",
]
