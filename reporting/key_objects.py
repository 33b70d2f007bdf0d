"""Key Object Selections (PS3.3 A.35.4, TID 2010): documents that point at other objects and say why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from highdicom.sr import CodedConcept
from pydicom import Dataset

from clinical import Draft
from reporting.equipment import finish, result_uid, series_description
from reporting.references import ResultReference, hierarchy
from reporting.site_profile import SiteProfile
from reporting.sr_observer import device_context
from reporting.stand_in import StandIn, restore_uids, stand_in


@dataclass(frozen=True, slots=True)
class Selection:
    """What a document selects, and why.

    Attributes
    ----------
    title
        Document title, of CID 7010.
    description
        Why, in words the header's character set can write.
    objects
        What it points at, in order: `image_of` pictures, `document_of` the rest.
    name
        What its UIDs and the names of its series are told apart by.
    parts
        What tells documents of one name apart.
    series_number
        (0020,0011).
    series_words
        What its series description says.
    """

    title: CodedConcept
    description: str
    objects: Sequence[StandIn]
    name: str
    series_number: int
    series_words: str
    parts: tuple[str, ...] = field(default=())


def document_of(reference: ResultReference, *, is_picture: bool = False) -> StandIn:
    """A result as a selection points at it."""
    header = Dataset()
    header.SOPClassUID, header.SOPInstanceUID = reference.sop_class_uid, reference.sop_instance_uid
    header.SeriesInstanceUID, header.StudyInstanceUID = (
        reference.series_instance_uid,
        reference.study_instance_uid,
    )
    found = stand_in(header, reference.study_instance_uid, rows=1, columns=1)
    if not is_picture:
        # What has rows is an IMAGE to the library, what has none a COMPOSITE.
        del found.evidence.Rows, found.evidence.Columns
    return found


def build_selection(
    selection: Selection,
    draft: Draft,
    header: Dataset,
    profile: SiteProfile,
    *,
    at_utc: datetime | None = None,
) -> Dataset:
    """The document.

    Parameters
    ----------
    header
        Patient and study are copied from it.
    at_utc
        When it was decided; the Draft's own time where it is None.
    """
    evidence = [one.evidence for one in selection.objects]
    document: Dataset = KeyObjectSelectionDocument(
        evidence=evidence,
        content=KeyObjectSelection(
            document_title=selection.title,
            referenced_objects=evidence,
            observer_device_context=device_context(draft, header, profile),
            description=selection.description,
        ),
        series_instance_uid=result_uid(draft, f"{selection.name}-series", *selection.parts),
        series_number=selection.series_number,
        sop_instance_uid=result_uid(draft, selection.name, *selection.parts),
        instance_number=1,
        manufacturer=profile.manufacturer,
        series_description=series_description(selection.series_words, draft, header, profile),
    )
    _drop_purposes(document)
    document.CurrentRequestedProcedureEvidenceSequence = hierarchy([_named(one) for one in evidence])
    restore_uids(document, _true_uids(selection.objects))
    finish(document, draft, header, profile, at_utc=at_utc)
    return document


def _true_uids(objects: Sequence[StandIn]) -> Mapping[str, str]:
    return {clean: true for one in objects for clean, true in one.true_uids.items()}


def _named(evidence: Dataset) -> ResultReference:
    return ResultReference(
        "",
        str(evidence.StudyInstanceUID),
        str(evidence.SeriesInstanceUID),
        str(evidence.SOPClassUID),
        str(evidence.SOPInstanceUID),
    )


def _drop_purposes(document: Dataset) -> None:
    """TID 2010 forbids a purpose of reference."""
    for item in document.ContentSequence:
        if item.ValueType in ("IMAGE", "COMPOSITE"):
            del item.ConceptNameCodeSequence
