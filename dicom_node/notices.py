"""What others tell of a study's images: performed procedure steps (PS3.4 Annex F) and availability (Annex R)."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from pydicom import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from dicom_node.candidates import CAPTURED_MODALITIES, PROJECTION_RADIOGRAPHY
from dicom_node.collected import StatusError
from dicom_node.identification import valid_uid
from dicom_node.statuses import INVALID_ATTRIBUTE_VALUE, MISSING_ATTRIBUTE, MISSING_VALUE

STEP_CLASS_UID = "1.2.840.10008.3.1.2.3.3"
AVAILABILITY_CLASS_UID = "1.2.840.10008.5.1.4.33"

# More radiographs than any study has, and more studies than any step.
IMAGES_MAX = 500
_STUDIES_MAX = 20
_STEP_IMAGES = PROJECTION_RADIOGRAPHY | {SecondaryCaptureImageStorage}
# An archive has our own pictures too, which are secondary captures and never come back to be read.
_ARCHIVED_IMAGES = PROJECTION_RADIOGRAPHY
_Term = TypeVar("_Term", bound=StrEnum)


class _Availability(StrEnum):
    """Instance Availability (0008,0056) (PS3.3 Table C.4-23b)."""

    ONLINE = "ONLINE"
    NEARLINE = "NEARLINE"
    OFFLINE = "OFFLINE"
    UNAVAILABLE = "UNAVAILABLE"


class StepStatus(StrEnum):
    """Performed Procedure Step Status (0040,0252) (PS3.3 Table C.4-14)."""

    IN_PROGRESS = "IN PROGRESS"
    COMPLETED = "COMPLETED"
    DISCONTINUED = "DISCONTINUED"


@dataclass(frozen=True, slots=True)
class StepBegun:
    """A modality has begun a performed procedure step (N-CREATE).

    Attributes
    ----------
    study_instance_uids
        Studies the step is for: at least one.
    image_uids
        SOP Instance UIDs of the radiographs it names already.
    is_radiography
        Whether its modality makes images that could be ours to read.
    """

    study_instance_uids: tuple[str, ...]
    image_uids: tuple[str, ...]
    is_radiography: bool = True


@dataclass(frozen=True, slots=True)
class StepChanged:
    """A modality says more of its step (N-SET).

    Attributes
    ----------
    status
        Its new status; None where that is not told.
    image_uids
        All radiographs of the step, however many; None where nothing is said of its images.
    """

    status: StepStatus | None
    image_uids: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class ImagesAvailable:
    """An archive says which objects of a study can be had from it (N-CREATE).

    Attributes
    ----------
    image_uids, gone_uids
        Radiographs that can be had, and such as can be had no more.
    """

    study_instance_uid: str
    image_uids: tuple[str, ...]
    gone_uids: tuple[str, ...] = ()


def step_begun(dataset: Dataset) -> StepBegun:
    """The notice in the Attribute List of an N-CREATE (PS3.4 Table F.7.2-1).

    Raises
    ------
    StatusError
        0120 without status, modality or study, 0121 where one is empty, 0106 where a value is not what it must be.
    """
    if _term(dataset, "PerformedProcedureStepStatus", StepStatus) is not StepStatus.IN_PROGRESS:
        raise StatusError(INVALID_ATTRIBUTE_VALUE)
    is_radiography = _required(dataset, "Modality").upper() in CAPTURED_MODALITIES
    steps = _items(dataset, "ScheduledStepAttributesSequence")
    studies = _bounded((_uid(step, "StudyInstanceUID") for step in steps), _STUDIES_MAX)
    images = (_images_of_step(dataset) or ()) if is_radiography else ()
    return StepBegun(studies, _bounded(images, IMAGES_MAX), is_radiography)


def step_changed(dataset: Dataset) -> StepChanged:
    """The notice in the Modification List of an N-SET.

    Raises
    ------
    StatusError
        0121 where one that must have a value is empty, 0106 where a value is not what it must be.
    """
    keyword = "PerformedProcedureStepStatus"
    status = _term(dataset, keyword, StepStatus) if keyword in dataset else None
    return StepChanged(status, _images_of_step(dataset))


def images_available(dataset: Dataset) -> ImagesAvailable:
    """The notice in the Attribute List of an N-CREATE (PS3.4 Table R.3.2-1), as far as it tells of radiographs.

    Raises
    ------
    StatusError
        0120 without study or objects, 0121 where one is empty, 0106 where a value is not what it must be.
    """
    study = _uid(dataset, "StudyInstanceUID")
    images: list[str] = []
    gone: list[str] = []
    for series in _items(dataset, "ReferencedSeriesSequence"):
        for item in _items(series, "ReferencedSOPSequence"):
            availability = _term(item, "InstanceAvailability", _Availability)
            told = gone if availability is _Availability.UNAVAILABLE else images
            told += _named((item,), _ARCHIVED_IMAGES)
    return ImagesAvailable(study, _bounded(images, IMAGES_MAX), _bounded(gone, IMAGES_MAX))


def _images_of_step(dataset: Dataset) -> tuple[str, ...] | None:
    """Radiographs of every performed series; other objects, such as dose reports, are not waited for."""
    if "PerformedSeriesSequence" not in dataset:
        return None
    images: list[str] = []
    for series in dataset.PerformedSeriesSequence or ():
        images += _named(series.get("ReferencedImageSequence") or (), _STEP_IMAGES)
    return tuple(dict.fromkeys(images))


def _named(items: Iterable[Dataset], classes: Container[str]) -> list[str]:
    """SOP Instance UIDs of the items that are of these classes."""
    named = [(_uid(item, "ReferencedSOPClassUID"), _uid(item, "ReferencedSOPInstanceUID")) for item in items]
    return [uid for sop_class, uid in named if sop_class in classes]


def _bounded(uids: Iterable[str], most: int) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(uids))
    if len(found) > most:
        raise StatusError(INVALID_ATTRIBUTE_VALUE)
    return found


def _items(dataset: Dataset, keyword: str) -> Sequence[Dataset]:
    """Items of a sequence that must have one."""
    if keyword not in dataset:
        raise StatusError(MISSING_ATTRIBUTE)
    items: Sequence[Dataset] = dataset.get(keyword) or ()
    if not items:
        raise StatusError(MISSING_VALUE)
    return items


def _required(dataset: Dataset, keyword: str) -> str:
    """A value that must be there."""
    if keyword not in dataset:
        raise StatusError(MISSING_ATTRIBUTE)
    value = str(dataset.get(keyword) or "").strip()
    if not value:
        raise StatusError(MISSING_VALUE)
    return value


def _term(dataset: Dataset, keyword: str, terms: type[_Term]) -> _Term:
    try:
        return terms(_required(dataset, keyword))
    except ValueError:
        raise StatusError(INVALID_ATTRIBUTE_VALUE) from None


def _uid(dataset: Dataset, keyword: str) -> str:
    uid = _required(dataset, keyword)
    if not valid_uid(uid):
        raise StatusError(INVALID_ATTRIBUTE_VALUE)
    return uid
