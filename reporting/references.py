"""References to other results: what a new version follows, and what is withdrawn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydicom import Dataset
from pydicom import Sequence as DicomSequence


@dataclass(frozen=True, slots=True)
class ResultReference:
    """One result object, as another object names it.

    Attributes
    ----------
    kind
        Kind of the artefact: ``"sr"``, ``"pr"`` ...
    """

    kind: str
    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str


def predecessors(references: Iterable[ResultReference], kind: str) -> DicomSequence | None:
    """(0040,A360) of a document: the earlier documents of its kind (PS3.3 C.17.2); None where there are none."""
    earlier = [reference for reference in references if reference.kind == kind]
    return hierarchy(earlier) if earlier else None


def hierarchy(references: Sequence[ResultReference]) -> DicomSequence:
    """Hierarchical SOP Instance Reference Macro (PS3.3 Table C.17-3), in the order given."""
    studies: dict[str, dict[str, list[ResultReference]]] = {}
    for reference in references:
        series = studies.setdefault(reference.study_instance_uid, {})
        series.setdefault(reference.series_instance_uid, []).append(reference)
    return DicomSequence([_study_item(uid, series) for uid, series in studies.items()])


def _study_item(study_instance_uid: str, series: dict[str, list[ResultReference]]) -> Dataset:
    item = Dataset()
    item.ReferencedSeriesSequence = DicomSequence([_series_item(uid, held) for uid, held in series.items()])
    item.StudyInstanceUID = study_instance_uid
    return item


def _series_item(series_instance_uid: str, references: Sequence[ResultReference]) -> Dataset:
    item = Dataset()
    item.ReferencedSOPSequence = DicomSequence([_instance_item(reference) for reference in references])
    item.SeriesInstanceUID = series_instance_uid
    return item


def _instance_item(reference: ResultReference) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = reference.sop_class_uid
    item.ReferencedSOPInstanceUID = reference.sop_instance_uid
    return item
