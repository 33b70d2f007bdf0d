"""A critical finding as a Key Object Selection, for archives and viewers that make key objects stand out."""

from __future__ import annotations

from collections.abc import Mapping

from highdicom.sr import CodedConcept
from pydicom import Dataset

from clinical import Draft, Permanent
from reporting.charset import writable
from reporting.key_objects import Selection, build_selection, document_of
from reporting.references import ResultReference
from reporting.site_profile import DEFAULT_PROFILE, SiteProfile
from reporting.source import SourceImage
from reporting.sr_sources import report_sources

# CID 7010 has no title that says urgent or critical. This one, which IHE KIN names for images somebody should look at,
# claims least; the others say what a person has decided.
_OF_INTEREST = CodedConcept("113000", "DCM", "Of Interest")
_WORDS = "DRAFT, AI: critical finding suspected"


def build_critical_flag(
    draft: Draft,
    sources: Mapping[str, SourceImage],
    report: ResultReference,
    profile: SiteProfile = DEFAULT_PROFILE,
) -> Dataset:
    """The one document of a Draft that points at images with a critical finding and at the report.

    Where the Reading that raised it is withheld, it points at every image of the study that can be referenced.

    Parameters
    ----------
    sources
        By SOP Instance UID: headers of the Draft's images.
    report
        The Draft's structured report.

    Raises
    ------
    Permanent
        ``nothing-critical`` of a Draft without a critical finding; as `report_sources` raises it.
    """
    if not draft.critical:
        raise Permanent("nothing-critical", "the draft has no critical finding to flag")
    known = report_sources(draft, sources)
    raised = [reading.image.sop_instance_uid for reading in draft.readings if reading.critical]
    images = [known.stand_ins[uid] for uid in raised or known.stand_ins]
    words = "; ".join([_WORDS, *(entry.words for entry in draft.critical)])
    selection = Selection(
        title=_OF_INTEREST,
        description=writable(words, known.first) or _WORDS,
        objects=[*images, document_of(report)],
        name="critical",
        series_number=profile.critical_series_number,
        series_words="look first",
    )
    return build_selection(selection, draft, known.first, profile)
