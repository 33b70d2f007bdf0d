"""Reports that a person has signed, as ORU^R01 brings them: whose they are, of which order, and what they say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from hl7_fhir.v2.acknowledgement import FIELD_MISSING, Refused, refuse_control_characters
from hl7_fhir.v2.message import Message, Segment
from hl7_fhir.v2.patient_identifier import PatientIdentifier, identifiers_of

# Table 0123 (OBR-25) and Table 0085 (OBX-11): final, and corrected after it was final.
_SIGNED = ("C", "F")
# DICOM names the Study Instance UID 110180; older IHE feeds use 113014.
_STUDY_UID_CODES = frozenset({"110180", "113014"})
_WORDS = frozenset({"TX", "FT", "ST"})


@dataclass(frozen=True, slots=True)
class ReportedOrder:
    """One order of an ORU: what a receiver must know of its report.

    Attributes
    ----------
    patients
        Every identifier of PID-3.
    accession_numbers
        Values of the fields that hold accession numbers, the most trusted first.
    status
        ``"F"`` final, ``"C"`` corrected; empty for a report that nobody has signed.
    text
        The report's words, line by line.
    """

    patients: tuple[PatientIdentifier, ...]
    study_instance_uids: tuple[str, ...]
    accession_numbers: tuple[str, ...]
    status: str
    text: str = field(repr=False)


def reported_orders(message: Message, accession_fields: Sequence[str]) -> tuple[ReportedOrder, ...]:
    """The orders of an ORU^R01.

    Parameters
    ----------
    accession_fields
        Where accession numbers stand, such as ``"OBR-18"``, the most trusted first.

    Raises
    ------
    Refused
        ``AE`` 101 where a patient's identifier or every order is missing, 102 for an identifier with a control
        character.
    """
    orders = [_order(patient, rows, accession_fields) for patient, rows in _groups(message)]
    if not orders:
        raise Refused("AE", FIELD_MISSING)
    return tuple(orders)


def _groups(message: Message) -> Iterator[tuple[Segment, list[Segment]]]:
    """Each order's segments with its patient: ORC where there is one, OBR and what follows (2.5.1 chapter 7.3.1)."""
    patient: Segment | None = None
    rows: list[Segment] = []
    for each in message.segments:
        begins = each.name in ("ORC", "OBR") and (each.name == "ORC" or any(r.name == "OBR" for r in rows))
        if each.name == "PID" or begins:
            if any(row.name == "OBR" for row in rows):
                yield _known(patient), rows
            rows = []
        if each.name == "PID":
            patient = each
        else:
            rows.append(each)
    if any(row.name == "OBR" for row in rows):
        yield _known(patient), rows


def _known(patient: Segment | None) -> Segment:
    if patient is None or not identifiers_of(patient, 3):
        raise Refused("AE", FIELD_MISSING)
    return patient


def _order(patient: Segment, rows: Sequence[Segment], accession_fields: Sequence[str]) -> ReportedOrder:
    numbers = accession_numbers_of(rows, accession_fields)
    uids = study_uids_of(rows)
    refuse_control_characters(*uids, *numbers)
    return ReportedOrder(
        patients=identifiers_of(patient, 3),
        study_instance_uids=uids,
        accession_numbers=numbers,
        status=_status(rows),
        text="\n".join(_lines(rows)),
    )


def accession_numbers_of(rows: Sequence[Segment], accession_fields: Sequence[str]) -> tuple[str, ...]:
    """What these segments have in the fields that hold accession numbers, the most trusted first."""
    numbers = []
    for place in accession_fields:
        name, _, number = place.partition("-")
        numbers += [row.component(int(number)).strip() for row in rows if row.name == name]
    return tuple(dict.fromkeys(filter(None, numbers)))


def study_uids_of(rows: Sequence[Segment]) -> tuple[str, ...]:
    """Study Instance UIDs of these segments: of OBX, ZDS-1 and IPC-3."""
    return tuple(dict.fromkeys(filter(None, _study_uids(rows))))


def _study_uids(rows: Sequence[Segment]) -> Iterator[str]:
    for row in rows:
        if row.name == "OBX" and row.component(3) in _STUDY_UID_CODES:
            yield row.component(5).strip()
        if row.name == "ZDS":
            yield row.component(1).strip()
        if row.name == "IPC":
            yield row.component(3).strip()


def _status(rows: Sequence[Segment]) -> str:
    (request, *_) = (row for row in rows if row.name == "OBR")
    stated = request.component(25).upper()
    if stated:
        return stated if stated in _SIGNED else ""
    # A sender that leaves OBR-25 empty says it line by line.
    said = {row.component(11).upper() for row in rows if row.name == "OBX"}
    if not said or said - set(_SIGNED):
        return ""
    return "C" if "C" in said else "F"


def _lines(rows: Sequence[Segment]) -> Iterator[str]:
    for row in rows:
        if row.name != "OBX" or row.component(2).upper() not in _WORDS:
            continue
        if row.component(3) in _STUDY_UID_CODES:
            continue
        for repetition in range(1, row.repetitions(5) + 1):
            yield from row.component(5, 1, 1, repetition).splitlines()
