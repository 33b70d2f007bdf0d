"""Which fields of HL7 version 2 messages are filled and which are read, with the usage of each (2.5.1, 2.12.6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# Message types and events that are taken. A34 is what A40 was before 2.3.1.
EVENTS: Mapping[str, frozenset[str]] = {
    "ORU": frozenset({"R01"}),
    "ADT": frozenset({"A34", "A40"}),
    "ORM": frozenset({"O01"}),
    "OMI": frozenset({"O23"}),
}


@dataclass(frozen=True, slots=True)
class FieldUse:
    """One field of a segment.

    Attributes
    ----------
    usage
        ``R`` required, ``RE`` required where it is known, ``C`` by a condition, ``X`` never.
    holds
        What is in it, or what is read of it.
    """

    segment: str
    number: int
    name: str
    usage: str
    holds: str = ""

    @property
    def place(self) -> str:
        """Such as ``OBR-25``."""
        return f"{self.segment}-{self.number}"


# What is filled in ORU^R01 (`oru`).
SENT = (
    FieldUse("MSH", 1, "Field Separator", "R", "`|`"),
    FieldUse("MSH", 2, "Encoding Characters", "R", "`^~\\&`"),
    FieldUse("MSH", 3, "Sending Application", "RE", "`sending_application`"),
    FieldUse("MSH", 4, "Sending Facility", "RE", "`sending_facility`"),
    FieldUse("MSH", 5, "Receiving Application", "RE", "`receiving_application`"),
    FieldUse("MSH", 6, "Receiving Facility", "RE", "`receiving_facility`"),
    FieldUse("MSH", 7, "Date/Time of Message", "R", "when the draft was made, with its offset"),
    FieldUse("MSH", 9, "Message Type", "R", "ORU^R01^ORU_R01; ORU^R01 in 2.3.1"),
    FieldUse("MSH", 10, "Message Control ID", "R", "20 characters; the same when the message is sent again"),
    FieldUse("MSH", 11, "Processing ID", "R", "`processing_id`"),
    FieldUse("MSH", 12, "Version ID", "R", "`version`"),
    FieldUse("MSH", 15, "Accept Acknowledgment Type", "C", "AL with `acknowledgement` enhanced"),
    FieldUse("MSH", 16, "Application Acknowledgment Type", "C", "NE with `acknowledgement` enhanced"),
    FieldUse("MSH", 18, "Character Set", "RE", "`charset`; empty means ASCII"),
    FieldUse("PID", 1, "Set ID", "R", "1"),
    FieldUse("PID", 3, "Patient Identifier List", "R", "one CX: number, assigning authority (mapped), MR"),
    FieldUse("PID", 5, "Patient Name", "RE", "a repetition for each component group of the DICOM name"),
    FieldUse("PID", 7, "Date/Time of Birth", "RE"),
    FieldUse("PID", 8, "Administrative Sex", "RE"),
    FieldUse("ORC", 1, "Order Control", "R", "RE"),
    FieldUse("ORC", 2, "Placer Order Number", "RE", "of the image header"),
    FieldUse("ORC", 3, "Filler Order Number", "R", "of the image header, else accession number, else ours"),
    FieldUse("OBR", 1, "Set ID", "R", "1"),
    FieldUse("OBR", 2, "Placer Order Number", "RE", "as ORC-2"),
    FieldUse("OBR", 3, "Filler Order Number", "R", "as ORC-3"),
    FieldUse(
        "OBR",
        4,
        "Universal Service Identifier",
        "R",
        "the order's own code, LOINC by view or `fields` beside it",
    ),
    FieldUse("OBR", 5, "Priority", "C", "S of a critical result with `priority` critical; not in 2.5.1"),
    FieldUse("OBR", 7, "Observation Date/Time", "R", "of the study, else of the draft"),
    FieldUse("OBR", 18, "Placer Field 1", "RE", "accession number"),
    FieldUse("OBR", 19, "Placer Field 2", "C", "as `fields` says"),
    FieldUse("OBR", 20, "Filler Field 1", "C", "as `fields` says"),
    FieldUse("OBR", 21, "Filler Field 2", "C", "as `fields` says"),
    FieldUse("OBR", 22, "Results Rpt/Status Chng", "R", "when the draft was made"),
    FieldUse("OBR", 24, "Diagnostic Serv Sect ID", "R", "RAD"),
    FieldUse("OBR", 25, "Result Status", "R", "P or R; X where it is taken back; never F"),
    FieldUse("OBR", 27, "Quantity/Timing", "C", "S in its sixth component, as OBR-5; not in 2.5.1"),
    FieldUse("OBR", 32, "Principal Result Interpreter", "X", "nobody has interpreted anything"),
    FieldUse("TQ1", 1, "Set ID", "C", "1; in 2.5.1 alone"),
    FieldUse("TQ1", 9, "Priority", "C", "S^Stat^HL70485 of a critical result with `priority` critical"),
    FieldUse("OBX", 1, "Set ID", "R"),
    FieldUse("OBX", 2, "Value Type", "R", "TX, FT, ST, NM, CWE (CE before 2.5), ED, RP"),
    FieldUse("OBX", 3, "Observation Identifier", "R"),
    FieldUse("OBX", 4, "Observation Sub-ID", "R", "1 of the report; one number for each finding"),
    FieldUse("OBX", 5, "Observation Value", "R", "of the first one: AI DRAFT, UNSIGNED: ..."),
    FieldUse("OBX", 6, "Units", "C", "% of a score"),
    FieldUse("OBX", 8, "Abnormal Flags", "C", "AA of a critical finding"),
    FieldUse("OBX", 11, "Observation Result Status", "R", "P or R; W of what is taken back; never F"),
    FieldUse("OBX", 14, "Date/Time of the Observation", "R", "as OBR-7"),
    FieldUse("OBX", 16, "Responsible Observer", "X", "nobody has interpreted anything"),
    FieldUse("OBX", 17, "Observation Method", "C", "calibration of a calibrated score"),
    FieldUse("OBX", 18, "Equipment Instance Identifier", "C", "model and version; not in 2.3.1"),
    FieldUse("OBX", 19, "Date/Time of the Analysis", "C", "when the draft was made; not in 2.3.1"),
)

_HEADER = (
    FieldUse("MSH", 3, "Sending Application", "RE", "given back in MSH-5 of the answer"),
    FieldUse("MSH", 4, "Sending Facility", "RE", "given back in MSH-6 of the answer"),
    FieldUse("MSH", 5, "Receiving Application", "RE", "given back in MSH-3 of the answer"),
    FieldUse("MSH", 6, "Receiving Facility", "RE", "given back in MSH-4 of the answer"),
    FieldUse("MSH", 9, "Message Type", "R"),
    FieldUse("MSH", 10, "Message Control ID", "R", "given back in MSA-2"),
    FieldUse("MSH", 11, "Processing ID", "R", "`hl7_listener.processing_id`"),
    FieldUse("MSH", 12, "Version ID", "R", "2.x"),
    FieldUse("MSH", 15, "Accept Acknowledgment Type", "C", "enhanced mode, Table 0155"),
    FieldUse("MSH", 16, "Application Acknowledgment Type", "C", "enhanced mode, Table 0155"),
    FieldUse("MSH", 18, "Character Set", "RE", "empty means ASCII"),
)

_ORDER = (
    FieldUse("PID", 3, "Patient Identifier List", "R", "every identifier: number, authority, type"),
    FieldUse("ORC", 1, "Order Control", "R", "whether the order stands, Table 0119"),
    FieldUse("ORC", 5, "Order Status", "C", "with ORC-1 SC: CA, DC and RP end it"),
    FieldUse("OBR", 3, "Filler Order Number", "RE", "accession number, by `hl7_listener.accession_fields`"),
    FieldUse("OBR", 13, "Relevant Clinical Info.", "C", "indication, where OBR-31 is empty"),
    FieldUse("OBR", 18, "Placer Field 1", "RE", "accession number, by `hl7_listener.accession_fields`"),
    FieldUse("OBR", 24, "Diagnostic Serv Sect ID", "RE", "other departments' orders are not kept"),
    FieldUse("OBR", 31, "Reason for Study", "RE", "indication: the words of a CE, else its code"),
    FieldUse("OBX", 3, "Observation Identifier", "RE", "110180 or 113014: the Study Instance UID"),
    FieldUse("OBX", 5, "Observation Value", "C", "the Study Instance UID"),
    FieldUse("IPC", 1, "Accession Identifier", "RE", "accession number, by `hl7_listener.accession_fields`"),
    FieldUse("IPC", 3, "Study Instance UID", "RE", "where the images have no accession number"),
    FieldUse("ZDS", 1, "Study Instance UID", "RE", "as IPC-3"),
)

# What is read, by message type.
READ: Mapping[str, tuple[FieldUse, ...]] = {
    "ORU": (
        *_HEADER,
        FieldUse("PID", 3, "Patient Identifier List", "R", "every identifier: number, authority, type"),
        FieldUse("OBR", 3, "Filler Order Number", "RE", "accession number, by `hl7_listener.accession_fields`"),
        FieldUse("OBR", 18, "Placer Field 1", "RE", "accession number, by `hl7_listener.accession_fields`"),
        FieldUse("OBR", 25, "Result Status", "RE", "F or C counts"),
        FieldUse("IPC", 1, "Accession Identifier", "RE", "accession number, by `hl7_listener.accession_fields`"),
        FieldUse("IPC", 3, "Study Instance UID", "RE"),
        FieldUse("ZDS", 1, "Study Instance UID", "RE"),
        FieldUse("OBX", 2, "Value Type", "RE", "TX, FT and ST are the report's words"),
        FieldUse("OBX", 3, "Observation Identifier", "RE", "110180 or 113014: the Study Instance UID"),
        FieldUse("OBX", 5, "Observation Value", "RE"),
        FieldUse("OBX", 11, "Observation Result Status", "C", "where OBR-25 is empty"),
    ),
    "ADT": (
        *_HEADER,
        FieldUse("PID", 3, "Patient Identifier List", "R", "the surviving numbers"),
        FieldUse("MRG", 1, "Prior Patient Identifier List", "R"),
    ),
    "ORM": (*_HEADER, *_ORDER),
    "OMI": (*_HEADER, *_ORDER),
}  # fmt: skip
