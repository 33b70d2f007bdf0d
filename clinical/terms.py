"""Coded terms: findings, anatomical regions, presence and laterality.

The tables under ``clinical/tables`` hold only codes that were verified; a blank code stays a local code
(`LOCAL_SCHEME`) with its plain meaning, never a guess.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from importlib.resources import files

SCT_SCHEME = "SCT"
DCM_SCHEME = "DCM"
RADLEX_SCHEME = "RADLEX"
# RSNA and ACR Common Data Elements; designator and UID 1.2.840.10008.2.16.15 by PS3.16 section 8.
RADELEMENT_SCHEME = "RADELEMENT"
# Open Imaging Finding Models (github.com/openimagingdata/findingmodels, `oifm_id` in defs); DICOM has no designator.
OIFM_SCHEME = "99OIFM"
LOCAL_SCHEME = "99RADDRAFT"


@dataclass(frozen=True, slots=True)
class CodedTerm:
    """A code value, its coding scheme designator and its meaning (PS3.3 Table 8.8-1)."""

    value: str
    scheme: str
    meaning: str


class Presence(StrEnum):
    """Whether a finding was called present, absent, or neither."""

    PRESENT = "present"
    ABSENT = "absent"
    INDETERMINATE = "indeterminate"

    @property
    def code(self) -> CodedTerm:
        """SNOMED CT code of the presence (CID 240, CID 4220)."""
        return _PRESENCE_CODES[self]


_PRESENCE_CODES = {
    Presence.PRESENT: CodedTerm("52101004", SCT_SCHEME, "Present"),
    Presence.ABSENT: CodedTerm("2667000", SCT_SCHEME, "Absent"),
    Presence.INDETERMINATE: CodedTerm("82334004", SCT_SCHEME, "Indeterminate"),
}


class Laterality(StrEnum):
    """Side of the patient, not of the image."""

    RIGHT = "right"
    LEFT = "left"
    BILATERAL = "bilateral"
    UNSPECIFIED = "unspecified"

    @property
    def code(self) -> CodedTerm | None:
        """SNOMED CT code of the side (CID 244); None where no side is stated."""
        return _LATERALITY_CODES.get(self)


_LATERALITY_CODES = {
    Laterality.RIGHT: CodedTerm("24028007", SCT_SCHEME, "Right"),
    Laterality.LEFT: CodedTerm("7771000", SCT_SCHEME, "Left"),
    Laterality.BILATERAL: CodedTerm("51440002", SCT_SCHEME, "Right and left"),
}


class CodeMatch(StrEnum):
    """How well a table's code fits the label."""

    EXACT = "exact"
    APPROXIMATE = "approximate"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class FindingLabel:
    """A finding name of a model's vocabulary with its codes.

    Attributes
    ----------
    name
        The label as the training data spell it, e.g. ``"Pleural Effusion"``.
    code
        Primary code: SNOMED CT where verified, else DICOM, else the local scheme.
    equivalent_codes
        Further verified codes (DICOM, RadLex, RadElement, OIFM).
    match
        Whether the primary code is exact or approximate; ``none`` marks a local code.
    """

    name: str
    code: CodedTerm
    equivalent_codes: tuple[CodedTerm, ...] = ()
    match: CodeMatch = CodeMatch.NONE


@dataclass(frozen=True, slots=True)
class Region:
    """An anatomical region by RadVLM's name, with its code and side."""

    name: str
    code: CodedTerm
    laterality: Laterality = Laterality.UNSPECIFIED
    match: CodeMatch = CodeMatch.NONE


def local_code(name: str) -> CodedTerm:
    """Code of the local scheme for a name without a verified code: its words in capitals, 16 characters at most."""
    value = "".join(char if char.isalnum() else "_" for char in name.upper())
    return CodedTerm(value[:16], LOCAL_SCHEME, name)


def _rows(table: str) -> list[dict[str, str]]:
    text = files("clinical").joinpath("tables", table).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def _codes(row: dict[str, str]) -> list[CodedTerm]:
    columns = (
        ("snomed_ct_code", SCT_SCHEME, "snomed_meaning"),
        ("dcm_code", DCM_SCHEME, "dcm_meaning"),
        ("radlex_id", RADLEX_SCHEME, "radlex_meaning"),
        ("radelement_id", RADELEMENT_SCHEME, "radelement_meaning"),
        ("oifm_id", OIFM_SCHEME, "oifm_meaning"),
    )
    return [CodedTerm(row[code], scheme, row[meaning]) for code, scheme, meaning in columns if row.get(code)]


def _finding(row: dict[str, str]) -> FindingLabel:
    codes = _codes(row)
    if not codes or codes[0].scheme in (RADLEX_SCHEME, OIFM_SCHEME):
        codes.insert(0, local_code(row["label"]))
    match = CodeMatch.NONE if codes[0].scheme == LOCAL_SCHEME else CodeMatch(row["match"])
    return FindingLabel(row["label"], codes[0], tuple(codes[1:]), match)


def _region(row: dict[str, str]) -> Region:
    codes = _codes(row)
    side = (
        Laterality(row["laterality_meaning"].lower()) if row["laterality_meaning"] else Laterality.UNSPECIFIED
    )
    if not codes:
        return Region(row["region"], local_code(row["region"]), side)
    return Region(row["region"], codes[0], side, CodeMatch(row["match"]))


@lru_cache(maxsize=1)
def finding_labels() -> dict[str, FindingLabel]:
    """Every known finding label by its lower-case name; the CheXpert spelling wins where two sets share a name."""
    labels: dict[str, FindingLabel] = {}
    for row in _rows("findings.csv"):
        labels.setdefault(row["label"].lower(), _finding(row))
    return labels


@lru_cache(maxsize=1)
def regions() -> dict[str, Region]:
    """Every known anatomical region by RadVLM's lower-case name."""
    return {row["region"]: _region(row) for row in _rows("anatomy.csv")}


def finding_label(name: str) -> FindingLabel:
    """Label for `name` in any case; an unknown name gets a local code."""
    return finding_labels().get(name.lower()) or FindingLabel(name, local_code(name))


def region(name: str) -> Region:
    """Region for RadVLM's `name`; an unknown name gets a local code."""
    return regions().get(name.lower()) or Region(name, local_code(name))
