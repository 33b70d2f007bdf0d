"""The draft as a narrative report, TID 2000 (PS3.16), for viewers that show text: Basic Text SR or Enhanced SR."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from highdicom.sr import (
    CodedConcept,
    ContainerContentItem,
    ContentSequence,
    LanguageOfContentItemAndDescendants,
    TextContentItem,
)
from highdicom.sr.templates import DEFAULT_LANGUAGE
from highdicom.sr.value_types import ContentItem
from pydicom import Dataset
from pydicom.uid import BasicTextSRStorage, EnhancedSRStorage

from clinical import Draft, Reading
from reporting.charset import writable
from reporting.references import ResultReference
from reporting.report_text import provenance_lines
from reporting.site_profile import DEFAULT_PROFILE, NarrativeClass, SiteProfile
from reporting.source import SourceImage
from reporting.sr_codes import (
    CONTAINS,
    DESCRIPTIONS_HEADING,
    FINDING,
    FINDINGS_HEADING,
    ILLUSTRATION,
    IMPRESSION,
    IMPRESSIONS_HEADING,
    INDICATIONS_HEADING,
    INFERRED_FROM,
    PROCEDURE_DESCRIPTION,
    REPORT_TITLE,
    REQUEST,
    text_item,
)
from reporting.sr_document import DocumentKind, sr_document
from reporting.sr_observer import device_observer
from reporting.sr_sources import ReportSources, image_item, report_sources
from reporting.wording import (
    check_words,
    concerns,
    critical_lines,
    finding_line,
    indication_lines,
    marked_sentence,
    negative_lines,
    outcome_sentence,
)

_TEMPLATE = "2000"
# The tree has text, codes and image references only, which is all Basic Text SR allows (PS3.3 A.35.1.3).
_SOP_CLASSES = {
    NarrativeClass.BASIC_TEXT: BasicTextSRStorage,
    NarrativeClass.ENHANCED: EnhancedSRStorage,
}


def build_narrative(
    draft: Draft,
    sources: Mapping[str, SourceImage],
    profile: SiteProfile = DEFAULT_PROFILE,
    earlier: Sequence[ResultReference] = (),
    *,
    indication: str = "",
) -> Dataset:
    """The draft's sentences as a diagnostic imaging report: UNVERIFIED, PRELIMINARY, "DRAFT" in its first line.

    Parameters
    ----------
    sources, earlier
        As for `build_sr`.
    indication
        Why the images were ordered, one line in the order's words.

    Raises
    ------
    Permanent
        ``source-header-unusable``, naming the attribute, if a read image cannot be referenced.
    """
    found = report_sources(draft, sources)
    what = DocumentKind(
        "narrative",
        _SOP_CLASSES[profile.narrative_class],
        profile.narrative_series_number,
        "DRAFT report",
    )
    return sr_document(_content(draft, found, profile, indication), what, draft, found, profile, earlier)


def _content(
    draft: Draft, sources: ReportSources, profile: SiteProfile, indication: str
) -> ContainerContentItem:
    """Root in the order of TID 2000: impressions first, so that the first line read says what this is."""
    root = ContainerContentItem(name=REPORT_TITLE, template_id=_TEMPLATE)
    content = ContentSequence()
    content.extend(LanguageOfContentItemAndDescendants(DEFAULT_LANGUAGE))
    content.extend(device_observer(draft, sources.first, profile))
    content.append(_section(IMPRESSIONS_HEADING, _impressions(draft, sources.first, profile)))
    why = _texts(REQUEST, indication_lines(indication), sources.first)
    if why:
        content.append(_section(INDICATIONS_HEADING, why))
    findings = [
        item
        for number, reading in enumerate(draft.readings, start=1)
        for item in _findings(reading, number, draft, sources)
    ]
    if findings:
        content.append(_section(FINDINGS_HEADING, findings))
    made = [text_item(PROCEDURE_DESCRIPTION, writable(line, sources.first)) for line in _how(draft)]
    content.append(_section(DESCRIPTIONS_HEADING, made))
    root.ContentSequence = content
    return root


def _section(name: CodedConcept, items: Sequence[ContentItem]) -> ContainerContentItem:
    section = ContainerContentItem(name=name, relationship_type=CONTAINS)
    section.ContentSequence = ContentSequence(items)
    return section


def _impressions(draft: Draft, header: Dataset, profile: SiteProfile) -> list[TextContentItem]:
    lines = [profile.draft_title, draft.model.statement, *critical_lines(draft), outcome_sentence(draft)]
    lines += [check_words(check) for entry in draft.study_findings for check in concerns(entry.checks)]
    lines += [check_words(check) for check in concerns(draft.checks)]
    return _texts(IMPRESSION, lines, header)


def _findings(reading: Reading, number: int, draft: Draft, sources: ReportSources) -> list[TextContentItem]:
    """Sentences of one image, then what was called present with its score, each inferred from that image."""
    header = sources.first
    lines = [marked_sentence(sentence, reading) for sentence in reading.sentences]
    lines += [finding_line(finding) for finding in reading.present]
    lines += negative_lines(reading)
    lines += [f"Not assessed: {entry.subject} ({entry.reason})" for entry in reading.not_assessed]
    lines += [check_words(check) for check in concerns(reading.checks)]
    place = f"Image {number}: " if len(draft.readings) > 1 else ""
    items = _texts(FINDING, (f"{place}{line}" for line in lines), header)
    evidence = sources.stand_ins[reading.image.sop_instance_uid].evidence
    for item in items:
        item.ContentSequence = ContentSequence([image_item(evidence, INFERRED_FROM, ILLUSTRATION)])
    return items


def _how(draft: Draft) -> list[str]:
    others = [
        f"An image of the study was not read ({outcome.state}): {outcome.reason}"
        for outcome in draft.other_images
    ]
    return [*others, *provenance_lines(draft)]


def _texts(name: CodedConcept, lines: Iterable[str], header: Dataset) -> list[TextContentItem]:
    return [text_item(name, writable(line, header)) for line in lines if line]
