"""The report in SOP classes that older archives take.

The tree has no by-reference relationship and no 3D coordinates, so the same content is valid as Comprehensive SR
(PS3.3 A.35.3) and as Enhanced SR (A.35.2). Each class is an object of its own, with UIDs of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from io import BytesIO

from pydicom import Dataset, dcmread
from pydicom.uid import UID, Comprehensive3DSRStorage, ComprehensiveSRStorage, EnhancedSRStorage

from clinical import Draft
from reporting.equipment import result_uid, series_description
from reporting.references import ResultReference, predecessors
from reporting.site_profile import SiteProfile


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
SR_LADDER = tuple(SrClass)


def restated(
    report: bytes,
    draft: Draft,
    sr_class: SrClass,
    profile: SiteProfile,
    earlier: Sequence[ResultReference] = (),
) -> Dataset:
    """The Draft's report as an object of another SOP class.

    Parameters
    ----------
    report
        File of the report that `build_sr` made. Its sequences stay bytes, so the tree is encoded once for all classes.
    earlier
        Results of the version before; the report of the same class is named as the predecessor.
    """
    other = dcmread(BytesIO(report))
    other.SOPClassUID = sr_class.sop_class_uid
    other.SOPInstanceUID = result_uid(draft, sr_class.kind)
    other.SeriesInstanceUID = result_uid(draft, f"{sr_class.kind}-series")
    what = f"findings ({sr_class.value.capitalize()})"
    other.SeriesDescription = series_description(what, draft, other, profile)
    other.file_meta.MediaStorageSOPClassUID = other.SOPClassUID
    other.file_meta.MediaStorageSOPInstanceUID = other.SOPInstanceUID
    followed = predecessors(earlier, sr_class.kind)
    if followed is not None:
        other.PredecessorDocumentsSequence = followed
    elif "PredecessorDocumentsSequence" in other:
        del other.PredecessorDocumentsSequence
    return other
