"""Orders, as ORM^O01 and OMI^O23 bring them: whose they are, of which study, and why the images are wanted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum

from hl7_fhir.v2.acknowledgement import FIELD_MISSING, Refused, refuse_control_characters
from hl7_fhir.v2.charset import unescape
from hl7_fhir.v2.final_report import accession_numbers_of, study_uids_of
from hl7_fhir.v2.message import COMPONENT, REPETITION, Message, Segment
from hl7_fhir.v2.patient_identifier import PatientIdentifier, identifiers_of

# ORC-1, Table 0119: the order stands, as it is new, changed, taken, or of another status.
_STANDS = frozenset(
    {"NW", "XO", "XX", "XR", "SC", "SN", "SS", "SR", "NA", "OK", "PA", "CH", "RO", "RE", "RL", "OE"}
)
# It is cancelled, discontinued, or another takes its place.
_ENDS = frozenset({"CA", "CR", "OC", "DC", "DR", "OD", "RP", "RQ", "RU"})
# ORC-5, Table 0038: what a change of status (SC) may say.
_ENDED_STATUSES = frozenset({"CA", "DC", "RP"})
# OBR-24, Table 0074: departments and modalities that take no radiographs. Their orders are none of ours to keep.
_OTHER_SERVICES = frozenset({
    "AU", "BG", "BLB", "CH", "CP", "CT", "CTH", "CUS", "EC", "EN", "HM", "ICU",
    "IMM", "LAB", "MB", "MCB", "MYC", "NMR", "NMS", "NRS", "OSL", "OT", "OUS", "PF",
    "PHR", "PT", "RC", "RT", "RUS", "SP", "SR", "TX", "VR", "VUS",
})  # fmt: skip
# Two quotation marks: "delete what you have" (2.5.3.2).
_NULL = '""'
# Longer than any reason that is one; a history pasted into the field is cut.
LONGEST_INDICATION = 1000
_CUT = " [...]"


class OrderControl(Enum):
    """What a message does to an order."""

    STANDS = "stands"
    ENDS = "ends"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class ImagingOrder:
    """One order: what has to be known to say why its images were wanted.

    Attributes
    ----------
    patients
        Every identifier of PID-3.
    accession_numbers
        Values of the fields that hold accession numbers, the most trusted first.
    study_instance_uids
        Of IPC-3, or of ZDS-1 as IHE has it for ORM^O01 (RAD-4).
    ours
        Whether OBR-24 leaves it possible that radiographs are ordered.
    indication
        Reason for study (OBR-31), else relevant clinical information (OBR-13), on one line of at most
        `LONGEST_INDICATION` characters; empty where the message takes it back, None where it says nothing of it.
    """

    patients: tuple[PatientIdentifier, ...]
    accession_numbers: tuple[str, ...]
    study_instance_uids: tuple[str, ...]
    control: OrderControl
    ours: bool
    indication: str | None = field(repr=False)


def imaging_orders(message: Message, accession_fields: Sequence[str]) -> tuple[ImagingOrder, ...]:
    """The orders of an ORM^O01, or of an OMI^O23 (2.5.1 chapter 4.4).

    Parameters
    ----------
    accession_fields
        As for `reported_orders`.

    Raises
    ------
    Refused
        ``AE`` 101 where a patient's identifier, an order control or every order is missing, 102 for an identifier with
        a control character.
    """
    patient = identifiers_of(message.first("PID"), 3)
    groups = list(_groups(message))
    if not patient or not groups:
        raise Refused("AE", FIELD_MISSING)
    return tuple(_order(patient, rows, accession_fields) for rows in groups)


def _groups(message: Message) -> Iterator[list[Segment]]:
    """Each order's segments: its ORC and what follows (2.5.1 chapter 4.4.1)."""
    rows: list[Segment] = []
    for each in message.segments:
        if each.name == "ORC":
            if rows:
                yield rows
            rows = [each]
        elif rows:
            rows.append(each)
    if rows:
        yield rows


def _order(
    patients: tuple[PatientIdentifier, ...], rows: Sequence[Segment], accession_fields: Sequence[str]
) -> ImagingOrder:
    control = rows[0].component(1).strip().upper()
    if not control:
        raise Refused("AE", FIELD_MISSING)
    request = next((row for row in rows if row.name == "OBR"), Segment("OBR", ()))
    numbers = accession_numbers_of(rows, accession_fields)
    uids = study_uids_of(rows)
    refuse_control_characters(*uids, *numbers)
    return ImagingOrder(
        patients=patients,
        accession_numbers=numbers,
        study_instance_uids=uids,
        control=_control(control, rows[0].component(5).strip().upper()),
        ours=request.component(24).strip().upper() not in _OTHER_SERVICES,
        indication=_indication(request),
    )


def _control(code: str, status: str) -> OrderControl:
    if code in _ENDS or (code == "SC" and status in _ENDED_STATUSES):
        return OrderControl.ENDS
    return OrderControl.STANDS if code in _STANDS else OrderControl.OTHER


def _indication(request: Segment) -> str | None:
    for number in (31, 13):
        if request.raw(number).strip() == _NULL:
            return ""
        # A reason that is given by code and words (CE) is said in its words.
        said = [_words(each) for each in request.raw(number).split(REPETITION)]
        line = _line("; ".join(dict.fromkeys(filter(None, said))))
        if line:
            return line
    return None


def _words(repetition: str) -> str:
    """Text of a coded element: its second part, else the original text (CWE-9), else the first."""
    parts = [unescape(part).strip() for part in repetition.split(COMPONENT)]
    return next((parts[number] for number in (1, 8, 0) if number < len(parts) and parts[number]), "")


def _line(text: str) -> str:
    """Somebody else's text on one line, without what is not printed, cut where it is too long.

    A character that did not fit its message's character set is a question mark: no receiver's set has the mark for it.
    """
    shown = "".join(c if c.isprintable() else " " for c in text.replace("\ufffd", "?"))
    line = " ".join(shown.split())
    if len(line) <= LONGEST_INDICATION:
        return line
    return line[: LONGEST_INDICATION - len(_CUT)].rstrip() + _CUT
