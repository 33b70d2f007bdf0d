"""Whether a Patient of the EHR is the one in the image: birth date, sex and family name."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hl7_fhir.header import StudyHeader

Json = dict[str, Any]

# DICOM (0010,0040) to administrative-gender; O and unknown genders are compared with nothing.
_GENDERS = {"M": "male", "F": "female"}
_SPELLINGS = {"ä": "ae", "ö": "oe", "ü": "ue", "ø": "oe", "å": "aa", "æ": "ae", "œ": "oe", "ß": "ss"}
_LETTERS = {"ø": "o", "æ": "ae", "œ": "oe", "ß": "ss", "đ": "d", "ł": "l", "ı": "i"}


@dataclass(frozen=True, slots=True)
class Demographics:
    """What the image says of its patient beside the identifier; what is missing is empty.

    Attributes
    ----------
    birth_date
        ``YYYY-MM-DD``.
    sex
        ``M``, ``F`` or ``O``.
    family_names
        One for each component group of the name.
    """

    birth_date: str = ""
    sex: str = ""
    family_names: tuple[str, ...] = ()

    @classmethod
    def of(cls, header: StudyHeader) -> Demographics:
        """From a study's header."""
        groups = (group.split("^")[0].strip() for group in header.patient_name.split("="))
        return cls(header.birth_date, header.sex, tuple(group for group in groups if group))

    def disagreements(self, patient: Json) -> list[str]:
        """What the EHR's Patient says otherwise: ``birth date``, ``sex``, ``family name``.

        What either side does not say is not compared; a name in another script is none that could be compared.
        """
        return [
            what
            for what, differs in (
                ("birth date", _dates_differ(self.birth_date, str(patient.get("birthDate", "")))),
                ("sex", _genders_differ(_GENDERS.get(self.sex, ""), str(patient.get("gender", "")))),
                ("family name", _names_differ(self.family_names, tuple(_families(patient)))),
            )
            if differs
        ]


def _dates_differ(ours: str, theirs: str) -> bool:
    # FHIR's date may be a year or a month alone (R4 2.24.0.1).
    shorter = min(len(ours), len(theirs))
    return bool(shorter) and ours[:shorter] != theirs[:shorter]


def _genders_differ(ours: str, theirs: str) -> bool:
    return bool(ours) and theirs in _GENDERS.values() and ours != theirs


def _families(patient: Json) -> Iterator[str]:
    for name in patient.get("name", []):
        if isinstance(name, dict) and isinstance(name.get("family"), str):
            yield name["family"]


def _names_differ(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    known = {spelling for name in theirs for spelling in _spellings(name)}
    said = {spelling for name in ours for spelling in _spellings(name)}
    comparable = any(_is_latin(a) == _is_latin(b) for a in known for b in said)
    return comparable and not known & said


def _spellings(name: str) -> set[str]:
    """A family name without diacritics, both ways: Müller as ``muller`` and as ``mueller``."""
    lower = unicodedata.normalize("NFC", name.casefold())
    written = {"".join(table.get(c, c) for c in lower) for table in (_LETTERS, {**_LETTERS, **_SPELLINGS})}
    apart = (unicodedata.normalize("NFKD", each) for each in written)
    folded = {
        re.sub(r"[\W_]", "", "".join(c for c in each if not unicodedata.combining(c))) for each in apart
    }
    return folded - {""}


def _is_latin(name: str) -> bool:
    return name[:1].isascii()
