"""What a header says about body part, view, species and age, read tolerantly."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from pydicom.dataset import Dataset

from inference.gate import words


class Part(StrEnum):
    """Body part a text names."""

    CHEST = "chest"
    OTHER = "other"
    SILENT = "silent"


class View(StrEnum):
    """Direction the image was taken in."""

    FRONTAL = "frontal"
    LATERAL = "lateral"
    OBLIQUE = "oblique"
    DECUBITUS = "decubitus"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class Statement:
    """A body part and the attributes that name it."""

    part: Part
    keywords: tuple[str, ...]


# From the image itself to the whole study: the closer to the image, the more a name is worth.
_IMAGE_LEVEL = ("BodyPartExamined", "AnatomicRegionSequence")
_SERIES_LEVEL = ("SeriesDescription", "ProtocolName", "AcquisitionDeviceProcessingDescription")
_STUDY_LEVEL = ("PerformedProcedureStepDescription", "StudyDescription", "RequestedProcedureDescription")
_HUMAN = ("homo sapiens", "human", "mensch", "humain", "humano", "человек", "337915000", "l 85b00")
_AGE = re.compile(r"^(\d{1,3})([DWMY])$")
_UNITS_PER_YEAR = {"D": 365.25, "W": 52.18, "M": 12.0, "Y": 1.0}


def text_of(header: Dataset, keyword: str) -> str:
    """Value of an attribute as text, code meanings for a sequence; empty where absent."""
    value = header.get(keyword)
    if value is None:
        return ""
    element = header[keyword]
    if element.VR == "SQ":
        return " ".join(
            f"{item.get('CodeValue') or ''} {item.get('CodeMeaning') or ''}".strip() for item in element.value
        )
    if element.VM > 1:
        return " ".join(str(one) for one in value)
    return str(value).strip()


def whole_number(header: Dataset, keyword: str, default: int) -> int:
    """First value of an attribute as a whole number; `default` where absent or not one."""
    value = header.get(keyword)
    try:
        return int(value) if value not in (None, "") else default
    except (TypeError, ValueError):
        return default


def part_of(text: str) -> Part:
    """Body part `text` names; a text that names the chest among others is about the chest."""
    rest = words.without(text, words.CHEST_LOOKALIKE)
    if words.names_any(rest, words.CHEST):
        return Part.CHEST
    if words.names_any(text, words.CHEST_LOOKALIKE) or words.names_any(rest, words.OTHER_PART):
        return Part.OTHER
    return Part.SILENT


def statements(header: Dataset) -> tuple[Statement, Statement, Statement]:
    """What the attributes of the image, of its series and of its study say about the body part."""
    image, series, study = (
        _statement(header, level) for level in (_IMAGE_LEVEL, _SERIES_LEVEL, _STUDY_LEVEL)
    )
    return image, series, study


def _statement(header: Dataset, keywords: Iterable[str]) -> Statement:
    named = {keyword: part_of(text_of(header, keyword)) for keyword in keywords}
    if named.get("BodyPartExamined") is Part.SILENT and words.names_any(
        text_of(header, "BodyPartExamined"), words.PART_NAMES
    ):
        named["BodyPartExamined"] = Part.OTHER
    for part in (Part.CHEST, Part.OTHER):
        telling = tuple(keyword for keyword, found in named.items() if found is part)
        if telling:
            return Statement(part, telling)
    return Statement(Part.SILENT, ())


def view_of(header: Dataset) -> View:
    """View the header states: View Position, then View Code, then the series' own words."""
    for keyword in ("ViewPosition", "ViewCodeSequence", *_SERIES_LEVEL):
        view = _view_of_text(text_of(header, keyword))
        if view is not View.SILENT:
            return view
    return View.SILENT


def _view_of_text(text: str) -> View:
    if words.names_any(text, words.DECUBITUS):
        return View.DECUBITUS
    lateral, frontal = words.names_any(text, words.LATERAL), words.names_any(text, words.FRONTAL)
    if lateral and frontal:
        return View.SILENT
    if words.names_any(text, words.OBLIQUE):
        return View.OBLIQUE
    if lateral:
        return View.LATERAL
    return View.FRONTAL if frontal else View.SILENT


def is_sagittal(header: Dataset) -> bool:
    """Whether Patient Orientation (0020,0020) says that rows run from front to back or back to front."""
    value = header.get("PatientOrientation")
    first = value if isinstance(value, str) else (value[0] if value else "")
    return str(first).strip().upper()[:1] in ("A", "P")


def is_animal(header: Dataset) -> bool:
    """Whether the header names a species that is not human, or a breed (PS3.3 C.7.1.1)."""
    species = " ".join(
        text_of(header, keyword) for keyword in ("PatientSpeciesDescription", "PatientSpeciesCodeSequence")
    ).strip()
    if species:
        return not words.names_any(species, _HUMAN)
    return bool(text_of(header, "PatientBreedDescription"))


def age_years(header: Dataset) -> float | None:
    """Patient's age at the study; None where it is not stated.

    ``000Y`` counts as not stated: anonymisers write it, while true ages below two years are given in months.
    """
    match = _AGE.match(text_of(header, "PatientAge").upper())
    if match and not (int(match[1]) == 0 and match[2] == "Y"):
        return int(match[1]) / _UNITS_PER_YEAR[match[2]]
    born, studied = (_date(text_of(header, keyword)) for keyword in ("PatientBirthDate", "StudyDate"))
    if born is None or studied is None or studied < born:
        return None
    return (studied - born).days / 365.25


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text[:8]) if text[:8].isdigit() else None
    except ValueError:
        return None
