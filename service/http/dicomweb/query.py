"""What a QIDO-RS request asks for (PS3.18 section 8.3.4 and Table 10.6.1-5)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydicom.datadict import keyword_for_tag

from clinical import Permanent
from service.book.catalogue import Criteria, Level

LIMIT_DEFAULT = 100
LIMIT_MAX = 1000
_DAY = re.compile(r"[0-9]{8}")
_TAG = re.compile(r"[0-9A-Fa-f]{8}")
_LISTS = {
    "StudyInstanceUID": "study_instance_uids",
    "SeriesInstanceUID": "series_instance_uids",
    "SOPInstanceUID": "sop_instance_uids",
    "SOPClassUID": "sop_class_uids",
    "SOPClassesInStudy": "sop_class_uids",
    "Modality": "modalities",
    "ModalitiesInStudy": "modalities",
}
_TEXTS = {
    "PatientID": "patient_id",
    "IssuerOfPatientID": "issuer_of_patient_id",
    "PatientName": "patient_name",
    "AccessionNumber": "accession_number",
}
# Attributes that say something of a study as a whole; below it they would match another thing than they name.
_STUDY_ONLY = frozenset({"ModalitiesInStudy", "SOPClassesInStudy"})


@dataclass(frozen=True, slots=True)
class Query:
    """A search and the part of its results that is wanted."""

    criteria: Criteria
    limit: int
    offset: int
    is_fuzzy: bool = False


class BadQuery(Permanent):
    """The search asks for something that is not searched for."""

    def __init__(self, message: str) -> None:
        super().__init__("bad-query", message)


def read_query(level: Level, parameters: Iterable[tuple[str, str]], **fixed: tuple[str, ...]) -> Query:
    """The search that query parameters describe.

    Parameters
    ----------
    fixed
        Criteria the resource's path states already.

    Raises
    ------
    BadQuery
        For an attribute that cannot be matched: ignoring it would find more than was asked for.
    """
    wanted: dict[str, Any] = {}
    limit, offset, is_fuzzy = LIMIT_DEFAULT, 0, False
    for name, value in parameters:
        if name == "limit":
            limit = min(_number(name, value), LIMIT_MAX)
        elif name == "offset":
            offset = _number(name, value)
        elif name == "fuzzymatching":
            is_fuzzy = value.lower() == "true"
        elif name in ("includefield", "accept"):
            continue  # every search gives all attributes it has
        elif value.strip():
            key, criterion = _criterion(level, name, value.strip())
            wanted[key] = criterion
    return Query(Criteria(**{**wanted, **fixed}), limit, offset, is_fuzzy)


def _criterion(level: Level, name: str, value: str) -> tuple[str, Any]:
    keyword = keyword_for_tag(int(name, 16)) if _TAG.fullmatch(name) else name
    if keyword in _LISTS and (level is Level.STUDY or keyword not in _STUDY_ONLY):
        return _LISTS[keyword], tuple(part.strip() for part in re.split(r"[,\\]", value) if part.strip())
    if keyword in _TEXTS:
        return _TEXTS[keyword], value
    if keyword == "StudyDate":
        return "study_dates", _days(value)
    known = ", ".join(sorted((_LISTS.keys() | _TEXTS.keys() | {"StudyDate"}) - _STUDY_ONLY))
    raise BadQuery(f"there is no search by this attribute; searched are {known}")


def _days(value: str) -> tuple[str, str]:
    first, dash, last = value.partition("-")
    if not dash:
        last = first
    if not (first or last) or any(day and not _DAY.fullmatch(day) for day in (first, last)):
        raise BadQuery("StudyDate is YYYYMMDD, or two of them with a hyphen between")
    return first, last


def _number(name: str, value: str) -> int:
    if not value.isdecimal() or len(value) > 9:
        raise BadQuery(f"{name} is a number")
    return int(value)
