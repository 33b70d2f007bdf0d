"""What others tell of a study's images: performed procedure steps (PS3.4 Annex F) and availability (Annex R)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from pydicom import Dataset

from dicom_node.collected import StatusError
from dicom_node.identification import valid_uid

STEP_CLASS_UID = "1.2.840.10008.3.1.2.3.3"
AVAILABILITY_CLASS_UID = "1.2.840.10008.5.1.4.33"

# PS3.7 Annex C.
INVALID_ATTRIBUTE_VALUE = 0x0106
MISSING_ATTRIBUTE = 0x0120
# More objects in one notice than any study has, and more studies than any step.
_INSTANCES_MAX = 100_000
_STUDIES_MAX = 100
_UNAVAILABLE = "UNAVAILABLE"


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
        SOP Instance UIDs of the images it names already.
    """

    study_instance_uids: tuple[str, ...]
    image_uids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StepChanged:
    """A modality says more of its step (N-SET).

    Attributes
    ----------
    status
        Its new status; None where that is not told.
    image_uids
        All images of the step; None where nothing is said of them.
    """

    status: StepStatus | None
    image_uids: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class ImagesAvailable:
    """An archive says which objects of a study can be had from it (N-CREATE)."""

    study_instance_uid: str
    image_uids: tuple[str, ...]


def step_begun(dataset: Dataset) -> StepBegun:
    """The notice in the Attribute List of an N-CREATE (PS3.4 Table F.7.2-1).

    Raises
    ------
    StatusError
        0120 without status or study, 0106 where a value is not what it must be.
    """
    if _status(dataset) is not StepStatus.IN_PROGRESS:
        raise StatusError(
            MISSING_ATTRIBUTE if "PerformedProcedureStepStatus" not in dataset else INVALID_ATTRIBUTE_VALUE
        )
    steps = dataset.get("ScheduledStepAttributesSequence") or ()
    studies = tuple(dict.fromkeys(_uid(step, "StudyInstanceUID") for step in steps))
    if not studies:
        raise StatusError(MISSING_ATTRIBUTE)
    if len(studies) > _STUDIES_MAX:
        raise StatusError(INVALID_ATTRIBUTE_VALUE)
    return StepBegun(studies, _images_of_step(dataset) or ())


def step_changed(dataset: Dataset) -> StepChanged:
    """The notice in the Modification List of an N-SET.

    Raises
    ------
    StatusError
        0106 where a value is not what it must be.
    """
    return StepChanged(_status(dataset), _images_of_step(dataset))


def images_available(dataset: Dataset) -> ImagesAvailable:
    """The notice in the Attribute List of an N-CREATE (PS3.4 Table R.3.2-1); what is unavailable is left out.

    Raises
    ------
    StatusError
        0120 without study or objects, 0106 where a value is not what it must be.
    """
    images = [
        _uid(item, "ReferencedSOPInstanceUID")
        for series in dataset.get("ReferencedSeriesSequence") or ()
        for item in series.get("ReferencedSOPSequence") or ()
        if str(item.get("InstanceAvailability") or "").strip() != _UNAVAILABLE
    ]
    if "ReferencedSeriesSequence" not in dataset:
        raise StatusError(MISSING_ATTRIBUTE)
    return ImagesAvailable(_uid(dataset, "StudyInstanceUID"), _bounded(images))


def _status(dataset: Dataset) -> StepStatus | None:
    if "PerformedProcedureStepStatus" not in dataset:
        return None
    try:
        return StepStatus(str(dataset.PerformedProcedureStepStatus or "").strip())
    except ValueError:
        raise StatusError(INVALID_ATTRIBUTE_VALUE) from None


def _images_of_step(dataset: Dataset) -> tuple[str, ...] | None:
    """Referenced images of every performed series; other objects, such as dose reports, are no images to wait for."""
    if "PerformedSeriesSequence" not in dataset:
        return None
    return _bounded(
        _uid(item, "ReferencedSOPInstanceUID")
        for series in dataset.PerformedSeriesSequence or ()
        for item in series.get("ReferencedImageSequence") or ()
    )


def _bounded(uids: Iterable[str]) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(uids))
    if len(found) > _INSTANCES_MAX:
        raise StatusError(INVALID_ATTRIBUTE_VALUE)
    return found


def _uid(dataset: Dataset, keyword: str) -> str:
    if keyword not in dataset:
        raise StatusError(MISSING_ATTRIBUTE)
    uid = str(dataset.get(keyword) or "")
    if not valid_uid(uid):
        raise StatusError(INVALID_ATTRIBUTE_VALUE)
    return uid
