"""Routing rules: which images are read, how urgently, and where their results go, by what their headers say.

The first rule whose every condition holds decides on an image; without one it is read as routine work and its results
go to every destination. Rules are values of the settings and pure functions of a header.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pydicom import Dataset

from service.settings import RuleSection

# PS3.3 C.7.2.2 Patient's Age, an AS (PS3.5 section 6.2): three digits and a unit.
_AGE = re.compile(r"(\d{3})([DWMY])")
_YEARS = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}
_ATTRIBUTES = {
    "modality": "Modality",
    "body_part": "BodyPartExamined",
    "study_description": "StudyDescription",
    "series_description": "SeriesDescription",
    "institution": "InstitutionName",
    "department": "InstitutionalDepartmentName",
    "station": "StationName",
    "manufacturer": "Manufacturer",
    "view_position": "ViewPosition",
}
# PS3.3 C.4.11 Requested Procedure Priority and what sites write instead of STAT.
_STAT_WORDS = frozenset({"STAT", "HIGH", "ASAP", "EMERGENCY"})


@dataclass(frozen=True, slots=True)
class Route:
    """What becomes of one image.

    Attributes
    ----------
    destinations
        Names; None for every one.
    rule
        Name of the rule that decided; empty where none did.
    """

    read: bool = True
    is_stat: bool = False
    destinations: tuple[str, ...] | None = None
    rule: str = ""


def route_of(header: Dataset, calling_ae_title: str, rules: Sequence[RuleSection]) -> Route:
    """What the rules say of an image; a requested-procedure priority of STAT holds whatever they say."""
    is_stat = asked_for_as_stat(header)
    for rule in rules:
        if _matches(rule, header, calling_ae_title):
            return Route(rule.read, rule.stat or is_stat, rule.destinations, rule.name)
    return Route(is_stat=is_stat)


def asked_for_as_stat(header: Dataset) -> bool:
    """Whether the order's priority, where the image carries it, is STAT (PS3.3 C.4.11, (0040,1003))."""
    items = [header, *_items(header, "RequestAttributesSequence")]
    return any(_text(item, "RequestedProcedurePriority").upper() in _STAT_WORDS for item in items)


def age_years(header: Dataset) -> float | None:
    """The patient's age at the study, from (0010,1010) or else from birth date and study date; None if unknown."""
    match = _AGE.fullmatch(_text(header, "PatientAge"))
    if match:
        return int(match.group(1)) * _YEARS[match.group(2)]
    born, studied = _text(header, "PatientBirthDate"), _text(header, "StudyDate")
    if not (re.fullmatch(r"\d{8}", born) and re.fullmatch(r"\d{8}", studied)):
        return None
    years = int(studied[:4]) - int(born[:4]) - (studied[4:] < born[4:])
    return float(years) if years >= 0 else None


def _matches(rule: RuleSection, header: Dataset, calling_ae_title: str) -> bool:
    when = rule.when
    if not _like(calling_ae_title, when.calling_ae_title):
        return False
    for name, keyword in _ATTRIBUTES.items():
        if not _like(_text(header, keyword), getattr(when, name)):
            return False
    if when.age_min_years is None and when.age_max_years is None:
        return True
    age = age_years(header)
    # Of an unknown age nothing can be said: such a rule does not decide.
    return (
        age is not None
        and (when.age_min_years is None or age >= when.age_min_years)
        and (when.age_max_years is None or age < when.age_max_years)
    )


def _like(text: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(text.upper(), pattern.upper()) for pattern in patterns)


def _items(header: Dataset, keyword: str) -> list[Dataset]:
    try:
        return list(header.get(keyword, None) or ())
    except Exception:  # a malformed value of any library's kind is, for us, no value
        return []


def _text(header: Dataset, keyword: str) -> str:
    try:
        return str(header.get(keyword, "") or "").strip()
    except Exception:  # a malformed value of any library's kind is, for us, no value
        return ""
