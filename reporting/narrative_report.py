"""The draft as a narrative report, TID 2000 (PS3.16), for viewers that show text: Basic Text SR or Enhanced SR."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from highdicom.sr import (
    CodedConcept,
    ContainerContentItem,
    ContentSequence,
    EnhancedSR,
    LanguageOfContentItemAndDescendants,
    TextContentItem,
)
from highdicom.sr.templates import DEFAULT_LANGUAGE
from highdicom.sr.value_types import ContentItem
from pydicom import Dataset
from pydicom.uid import BasicTextSRStorage

from clinical import Draft, DraftOutcome, Reading
from reporting.charset import writable
from reporting.equipment import finish, result_uid, series_description
from reporting.evaluations import failed_images
from reporting.references import ResultReference, predecessors
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
    INFERRED_FROM,
    PROCEDURE_DESCRIPTION,
    REPORT_TITLE,
    text_item,
)
from reporting.sr_observer import device_observer
from reporting.sr_sources import ReportSources, image_item, referenced_requests, report_sources
from reporting.stand_in import restore_uids
from reporting.wording import check_words, concerns, finding_line, marked_sentence, outcome_sentence

_TEMPLATE = "2000"


def build_narrative(
    draft: Draft,
    sources: Mapping[str, SourceImage],
    profile: SiteProfile = DEFAULT_PROFILE,
    earlier: Sequence[ResultReference] = (),
) -> Dataset:
    """The draft's sentences as a diagnostic imaging report: UNVERIFIED, PRELIMINARY, "DRAFT" in its first line.

    Parameters
    ----------
    sources, earlier
        As for `build_sr`.

    Raises
    ------
    Permanent
        ``source-header-unusable``, naming the attribute, if a read image cannot be referenced.
    """
    found = report_sources(draft, sources)
    whole = draft.outcome is not DraftOutcome.FAILED and not failed_images(draft)
    report: Dataset = EnhancedSR(
        evidence=[one.evidence for one in found.stand_ins.values()],
        content=_content(draft, found, profile),
        series_instance_uid=result_uid(draft, "narrative-series"),
        series_number=profile.narrative_series_number,
        sop_instance_uid=result_uid(draft, "narrative"),
        instance_number=1,
        manufacturer=profile.manufacturer,
        is_complete=whole,
        is_final=False,
        is_verified=False,
        series_description=series_description("DRAFT report", draft, found.first, profile),
    )
    if profile.narrative_class is NarrativeClass.BASIC_TEXT:
        # The tree has text, codes and image references only, which is all Basic Text SR allows (PS3.3 A.35.1.3).
        report.SOPClassUID = BasicTextSRStorage
    restore_uids(report, found.true_uids)
    if not whole:
        report.CompletionFlagDescription = "The reading of at least one image failed"
    finish(report, draft, found.first, profile)
    requests = referenced_requests(found.first, str(report.StudyInstanceUID))
    if requests is not None:
        report.ReferencedRequestSequence = requests
    followed = predecessors(earlier, "narrative")
    if followed is not None:
        report.PredecessorDocumentsSequence = followed
    return report


def _content(draft: Draft, sources: ReportSources, profile: SiteProfile) -> Dataset:
    """Root in the order of TID 2000: impressions first, so that the first line read says what this is."""
    root = ContainerContentItem(name=REPORT_TITLE, template_id=_TEMPLATE)
    content = ContentSequence()
    content.extend(LanguageOfContentItemAndDescendants(DEFAULT_LANGUAGE))
    content.extend(device_observer(draft, sources.first, profile))
    content.append(_section(IMPRESSIONS_HEADING, _impressions(draft, sources.first, profile)))
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
    lines = [profile.draft_title, draft.model.statement, outcome_sentence(draft)]
    lines += [check_words(check) for entry in draft.study_findings for check in concerns(entry.checks)]
    lines += [check_words(check) for check in concerns(draft.checks)]
    return _texts(IMPRESSION, lines, header)


def _findings(reading: Reading, number: int, draft: Draft, sources: ReportSources) -> list[TextContentItem]:
    """Sentences of one image, then what was called present with its score, each inferred from that image."""
    header = sources.first
    lines = [marked_sentence(sentence, reading) for sentence in reading.sentences]
    lines += [finding_line(finding) for finding in reading.present]
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
