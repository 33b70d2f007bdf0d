"""The report in SOP classes that older archives take.

The tree has no by-reference relationship and no 3D coordinates, so the same content is valid as Comprehensive SR
(PS3.3 A.35.3) and as Enhanced SR (A.35.2). Each class is an object of its own, with UIDs of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from pydicom import Dataset
from pydicom.uid import UID, Comprehensive3DSRStorage, ComprehensiveSRStorage, EnhancedSRStorage

from clinical import Draft
from reporting.equipment import result_uid, seal
from reporting.references import ResultReference, predecessors


class SrClass(StrEnum):
    """SOP classes of the structured report, from the one AIR asks for to the one most archives take."""

    COMPREHENSIVE_3D = "comprehensive-3d"
    COMPREHENSIVE = "comprehensive"
    ENHANCED = "enhanced"

    @property
    def kind(self) -> str:
        """Kind of artefact of the report in this class."""
        return "sr" if self is SrClass.COMPREHENSIVE_3D else f"sr-{self.value}"

    @property
    def sop_class_uid(self) -> UID:
        """Storage SOP Class UID."""
        return _SOP_CLASSES[self]


_SOP_CLASSES = {
    SrClass.COMPREHENSIVE_3D: Comprehensive3DSRStorage,
    SrClass.COMPREHENSIVE: ComprehensiveSRStorage,
    SrClass.ENHANCED: EnhancedSRStorage,
}
# What each class has for itself: SOP Class, SOP Instance and Series Instance UID, predecessors.
_OWN = frozenset({0x00080016, 0x00080018, 0x0020000E, 0x0040A360})
SR_LADDER = tuple(SrClass)


def restated(
    report: Dataset, draft: Draft, sr_class: SrClass, earlier: Sequence[ResultReference] = ()
) -> Dataset:
    """The Draft's report (of `build_sr`) as an object of another SOP class.

    Parameters
    ----------
    earlier
        Results of the version before; the report of the same class is named as the predecessor.
    """
    other = Dataset()
    other.update({tag: report.get_item(tag) for tag in report.keys() - _OWN})
    other.SOPClassUID = sr_class.sop_class_uid
    other.SOPInstanceUID = result_uid(draft, sr_class.kind)
    other.SeriesInstanceUID = result_uid(draft, f"{sr_class.kind}-series")
    followed = predecessors(earlier, sr_class.kind)
    if followed is not None:
        other.PredecessorDocumentsSequence = followed
    seal(other)
    return other
