"""Sources as highdicom can take them.

highdicom refuses, or warns of with the value in its words, much of what real headers hold: names without a caret, dates
of other centuries' formats, UIDs with leading zeros, missing Study IDs. So objects are built on stand-ins whose
values are clean, and what the source says is put back afterwards, as its author wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pydicom import Dataset, config
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.uid import UID

from clinical import Permanent, derived_uid
from reporting.source import text_of

_VALID_UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")
_UID_LONGEST = 64
_REFERENCE = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID")
_EMPTY = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)


@dataclass(frozen=True, slots=True)
class StandIn:
    """A source image for highdicom, and how to get back to the true one.

    Attributes
    ----------
    evidence
        Clean data set with what highdicom asks of an image: references, size, empty patient and study.
    true_uids
        UIDs of the source that highdicom would not take, by the UID that stands for each.
    """

    evidence: Dataset
    true_uids: Mapping[str, str]


def stand_in(header: Dataset, study_instance_uid: str, *, rows: int, columns: int) -> StandIn:
    """Stand-in for one source image.

    Raises
    ------
    Permanent
        ``source-header-unusable``, naming the attribute, if the image cannot be referenced.
    """
    evidence, true_uids = Dataset(), {}
    said = {keyword: text_of(header, keyword) for keyword in _REFERENCE}
    said["StudyInstanceUID"] = text_of(header, "StudyInstanceUID") or study_instance_uid
    for keyword, value in said.items():
        if not value:
            raise Permanent(
                "source-header-unusable", "the image cannot be referenced by a result", tag=_tag(keyword)
            )
        clean = value if is_valid_uid(value) else derived_uid("stand-in", value)
        if clean != value:
            true_uids[clean] = value
        setattr(evidence, keyword, clean)
    for keyword in _EMPTY:
        setattr(evidence, keyword, "")
    evidence.Modality = "OT"
    evidence.Rows, evidence.Columns, evidence.SamplesPerPixel = rows, columns, 1
    return StandIn(evidence, true_uids)


def is_valid_uid(value: str) -> bool:
    """Whether `value` is a UID by PS3.5 9.1."""
    return len(value) <= _UID_LONGEST and _VALID_UID.fullmatch(value) is not None


def restore_uids(dataset: Dataset, true_uids: Mapping[str, str]) -> None:
    """Put the sources' own UIDs in the place of those that stood for them, at any depth."""
    if not true_uids:
        return
    for element in list(dataset):
        if element.VR == "SQ":
            for item in element.value:
                restore_uids(item, true_uids)
        elif element.VR == "UI" and str(element.value) in true_uids:
            uid = UID(true_uids[str(element.value)], validation_mode=config.IGNORE)
            dataset[element.tag] = DataElement(element.tag, "UI", uid, validation_mode=config.IGNORE)


def _tag(keyword: str) -> str:
    tag = tag_for_keyword(keyword) or 0
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
