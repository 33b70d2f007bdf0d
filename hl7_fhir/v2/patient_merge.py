"""Patients whose numbers became one, as ADT^A40 (and A34 before it) says: PID-3 survives, MRG-1 is no longer used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hl7_fhir.v2.acknowledgement import DATA_TYPE, FIELD_MISSING, Refused
from hl7_fhir.v2.message import Message, Segment
from hl7_fhir.v2.patient_identifier import PatientIdentifier, identifiers_of

# LO of PS3.5 section 6.2: a Patient ID and its issuer are printable, have at most 64 characters and no backslash.
_LONGEST = 64
# Table 0203, account and visit: the authority of patients' numbers often gives these too.
_OF_A_VISIT = frozenset({"AN", "VN"})


@dataclass(frozen=True, slots=True)
class PatientMerge:
    """One number that is no longer used, and the one that takes its place."""

    prior: PatientIdentifier
    surviving: PatientIdentifier


def patient_merges(message: Message) -> tuple[PatientMerge, ...]:
    """Every number of MRG-1 with its successor: that of the same authority, or the only one there is.

    A number whose authority has no successor in PID-3, or more than one, is left out: it is not guessed.

    Raises
    ------
    Refused
        ``AE`` 101 where a patient, a merge or their numbers are missing, 102 for a number or an authority that no image
        could carry.
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
        survivor = _successor(prior, survivors)
        if survivor is None:
            continue
        issuer = survivor.namespace or survivor.universal_id
        if not _fits_an_image(survivor.value) or not _fits_an_image(issuer):
            raise Refused("AE", DATA_TYPE)
        if not survivor.namespace and not survivor.universal_id:
            survivor = replace(prior, value=survivor.value)
        found.append(PatientMerge(prior, survivor))
    return found


def _fits_an_image(value: str) -> bool:
    return len(value) <= _LONGEST and value.isprintable() and "\\" not in value


def _successor(prior: PatientIdentifier, survivors: Sequence[PatientIdentifier]) -> PatientIdentifier | None:
    """The one number that takes a number's place; None where several could."""
    possible = [each for each in survivors if each.kind == prior.kind or each.kind not in _OF_A_VISIT]
    same = [each for each in possible if _one_authority(prior, each)]
    same = [each for each in same if each.kind == prior.kind] or same
    if not same and len(survivors) == 1:
        same = possible
    return same[0] if len({each.value for each in same}) == 1 else None


def _one_authority(one: PatientIdentifier, other: PatientIdentifier) -> bool:
    if one.universal_id and other.universal_id:
        return one.universal_id == other.universal_id
    if one.namespace or other.namespace:
        return one.namespace == other.namespace
    # Without names, one of them may still have a universal ID: then nobody knows.
    return one.universal_id == other.universal_id
