"""Patients whose numbers became one, as ADT^A40 (and A34 before it) says: PID-3 survives, MRG-1 is no longer used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hl7_fhir.v2.acknowledgement import DATA_TYPE, FIELD_MISSING, Refused
from hl7_fhir.v2.message import Message, Segment
from hl7_fhir.v2.patient_identifier import PatientIdentifier, identifiers_of

# LO of PS3.5 section 6.2: a Patient ID is printable, has at most 64 characters and no backslash.
_LONGEST_ID = 64


@dataclass(frozen=True, slots=True)
class PatientMerge:
    """One number that is no longer used, and the one that takes its place."""

    prior: PatientIdentifier
    surviving: PatientIdentifier


def patient_merges(message: Message) -> tuple[PatientMerge, ...]:
    """Every number of MRG-1 with its successor: that of the same authority, or the only one there is.

    A number whose authority has no successor in PID-3 is left out: it is not guessed.

    Raises
    ------
    Refused
        ``AE`` 101 where a patient, a merge or their numbers are missing, 102 for a number that no image could carry.
    """
    merges: list[PatientMerge] = []
    patient: Segment | None = None
    seen = False
    for row in message.segments:
        if row.name == "PID":
            patient = row
        if row.name != "MRG":
            continue
        survivors = identifiers_of(patient, 3) if patient is not None else ()
        priors = identifiers_of(row, 1)
        if not survivors or not priors:
            raise Refused("AE", FIELD_MISSING)
        seen = True
        merges += _pairs(priors, survivors)
    if not seen:
        raise Refused("AE", FIELD_MISSING)
    return tuple(merges)


def _pairs(priors: Sequence[PatientIdentifier], survivors: Sequence[PatientIdentifier]) -> list[PatientMerge]:
    found = []
    for prior in priors:
        same = [each for each in survivors if _one_authority(prior, each)]
        chosen = same or (list(survivors) if len(survivors) == 1 else [])
        if not chosen:
            continue
        value = chosen[0].value
        if len(value) > _LONGEST_ID or not value.isprintable() or "\\" in value:
            raise Refused("AE", DATA_TYPE)
        survivor = chosen[0]
        if not survivor.namespace and not survivor.universal_id:
            survivor = replace(prior, value=value)
        found.append(PatientMerge(prior, survivor))
    return found


def _one_authority(one: PatientIdentifier, other: PatientIdentifier) -> bool:
    by_id = bool(one.universal_id) and one.universal_id == other.universal_id
    return by_id or one.namespace == other.namespace
