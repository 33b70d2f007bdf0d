"""What every structured report of a Draft has around its content tree (PS3.3 C.17.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from highdicom.sr import Comprehensive3DSR, ContainerContentItem, ContentSequence
from pydicom import Dataset

from clinical import Draft, DraftOutcome
from reporting.equipment import finish, result_uid, series_description
from reporting.evaluations import failed_images
from reporting.references import ResultReference, predecessors
from reporting.site_profile import SiteProfile
from reporting.sr_sources import ReportSources, referenced_requests
from reporting.stand_in import restore_uids


@dataclass(frozen=True, slots=True)
class DocumentKind:
    """What tells one report of a Draft from another.

    Attributes
    ----------
    kind
        Kind of artefact, which its UIDs and its predecessors go by.
    sop_class_uid
        Storage SOP Class UID.
    series_number
        (0020,0011); the report is alone in its series.
    description
        What the series description says of its content.
    """

    kind: str
    sop_class_uid: str
    series_number: int
    description: str


def sr_document(
    root: ContainerContentItem,
    what: DocumentKind,
    draft: Draft,
    sources: ReportSources,
    profile: SiteProfile,
    earlier: Sequence[ResultReference] = (),
) -> Dataset:
    """A content tree as a complete report: UNVERIFIED and PRELIMINARY, PARTIAL where an image failed.

    highdicom gets the root without what it contains: it would copy the tree and search it again and again, which takes
    three times as long as making it. The tree goes in afterwards, as it is.

    Parameters
    ----------
    root
        Content tree, whose image references are all among `sources`.
    earlier
        Results of the version before; those of the same kind are named as predecessors.
    """
    whole = draft.outcome is not DraftOutcome.FAILED and not failed_images(draft)
    bare = ContainerContentItem(
        name=root.name, template_id=root.ContentTemplateSequence[0].TemplateIdentifier
    )
    bare.ContentSequence = ContentSequence()
    report: Dataset = Comprehensive3DSR(
        evidence=[one.evidence for one in sources.stand_ins.values()],
        content=bare,
        series_instance_uid=result_uid(draft, f"{what.kind}-series"),
        series_number=what.series_number,
        sop_instance_uid=result_uid(draft, what.kind),
        instance_number=1,
        manufacturer=profile.manufacturer,
        is_complete=whole,
        is_final=False,
        is_verified=False,
        series_description=series_description(what.description, draft, sources.first, profile),
    )
    report.SOPClassUID = what.sop_class_uid
    report.ContentSequence = root.ContentSequence
    restore_uids(report, sources.true_uids)
    if not whole:
        report.CompletionFlagDescription = "The reading of at least one image failed"
    finish(report, draft, sources.first, profile)
    requests = referenced_requests(sources.first, str(report.StudyInstanceUID))
    if requests is not None:
        report.ReferencedRequestSequence = requests
    followed = predecessors(earlier, what.kind)
    if followed is not None:
        report.PredecessorDocumentsSequence = followed
    return report
