"""Patients as HL7 version 2 names them, and whose numbers those are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hl7_fhir.v2.acknowledgement import refuse_control_characters
from hl7_fhir.v2.message import Segment

# Two quotation marks: "delete what you have" (HL7 2.5.1 chapter 2.5.3.2).
_NULL = '""'


@dataclass(frozen=True, slots=True)
class PatientIdentifier:
    """One CX: a number, the assigning authority it is a number of (its namespace, its universal ID), and its type.

    The type is a code of Table 0203, such as ``MR`` (medical record) or ``AN`` (account).
    """

    value: str
    namespace: str = ""
    universal_id: str = ""
    kind: str = ""


def identifiers_of(row: Segment, number: int) -> tuple[PatientIdentifier, ...]:
    """Every identifier that field `number` lists (CX: 1 number, 4 authority, 5 type); HL7's null is none.

    Raises
    ------
    Refused
        ``AE`` 102 for one with a control character.
    """
    listed = [
        PatientIdentifier(
            row.component(number, 1, 1, repetition).strip(),
            row.component(number, 4, 1, repetition).strip(),
            row.component(number, 4, 2, repetition).strip(),
            row.component(number, 5, 1, repetition).strip().upper(),
        )
        for repetition in range(1, row.repetitions(number) + 1)
    ]
    for each in listed:
        refuse_control_characters(each.value, each.namespace, each.universal_id)
    return tuple(each for each in listed if each.value not in ("", _NULL))


@dataclass(frozen=True, slots=True)
class Authorities:
    """What the issuers of images' patient numbers are called in messages.

    Attributes
    ----------
    issuers
        IssuerOfPatientID (0010,0021) to assigning authority: ``NAME``, or ``NAME&universal id&type``.
    default
        Authority of numbers in images without an issuer, and in messages that name none; None where nobody has said.
    """

    issuers: Mapping[str, str] = field(default_factory=dict)
    default: str | None = None

    def issuers_of(self, identifier: PatientIdentifier) -> frozenset[str]:
        """Issuers under which images may have this number; ``""`` is an image without one. Empty where nobody knows."""
        if not identifier.namespace and not identifier.universal_id:
            if self.default is None:
                return frozenset()
            namespace, _, rest = self.default.partition("&")
            identifier = PatientIdentifier(identifier.value, namespace, rest.partition("&")[0])
        named = {issuer for issuer, authority in self.issuers.items() if _same(authority, identifier)}
        named |= {identifier.namespace, identifier.universal_id} - {""} - set(self.issuers)
        if self.default is not None and _same(self.default, identifier):
            named.add("")
        return frozenset(named)

    def issuer_for(self, identifier: PatientIdentifier) -> str:
        """The issuer an image of this number has: the one mapped, else the authority's own name."""
        for issuer, authority in self.issuers.items():
            if _same(authority, identifier):
                return issuer
        return identifier.namespace or identifier.universal_id


def _same(authority: str, identifier: PatientIdentifier) -> bool:
    namespace, _, rest = authority.partition("&")
    universal_id = rest.partition("&")[0]
    by_id = bool(universal_id) and universal_id == identifier.universal_id
    return by_id or (bool(namespace) and namespace == identifier.namespace)
