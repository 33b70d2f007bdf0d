"""Qualitative Evaluations of the report: what is said of images as a whole.

The outcome, every label asked about with presence, score and operating point, the sentences of the draft, what was
not assessed and why, and the checks.
"""

from __future__ import annotations

from collections.abc import Iterable

from highdicom.sr import CodeContentItem, CodedConcept, ContainerContentItem, ContentSequence
from highdicom.sr.value_types import ContentItem
from pydicom import Dataset

from clinical import Draft, Finding, Reading, Score, Sentence, prior_sentence
from reporting.charset import writable
from reporting.measurement_groups import image_region
from reporting.outline import outline_points
from reporting.sr_codes import (
    CERTAINTY,
    CHECK,
    COMMENT,
    CONTAINS,
    DRAFT_SENTENCE,
    HAS_PROPERTIES,
    INFERRED_FROM,
    NOT_ASSESSED,
    OPERATING_POINT,
    OPERATING_POINT_DESCRIPTION,
    QUALITATIVE_EVALUATIONS,
    RAW_SCORE,
    SUMMARY,
    concept,
    percent_item,
    side_item,
    summary_code,
    text_item,
    uid_item,
)
from reporting.sr_sources import ReportSources, image_item
from reporting.wording import (
    SCORES_NOTE,
    check_words,
    critical_lines,
    evidence_mark,
    finding_line,
    is_withheld,
    outcome_sentence,
    score_words,
    sentence_line,
)

# States of an image that count as a failed algorithm; not being a frontal chest radiograph does not.
FAILED_STATES = frozenset({"failed", "quarantined"})
_REPLACED = (
    "Some letters of this draft cannot be written in the character set of this object and were replaced by "
    "their nearest plain letters."
)


def failed_images(draft: Draft) -> bool:
    """Whether the reading of any image of the study failed."""
    return any(outcome.state in FAILED_STATES for outcome in draft.other_images)


def qualitative_evaluations(draft: Draft, sources: ReportSources, banner: str) -> ContainerContentItem:
    """The root's container (C0034375, UMLS, "Qualitative Evaluations") of TID 1500."""
    header = sources.first
    opening = [line for line in (banner, draft.model.statement, outcome_sentence(draft)) if line]
    opening += [*_provenance(draft), SCORES_NOTE]
    if draft.prior is not None:
        opening.append(prior_sentence(draft.prior))
    if any(writable(s.text, header) != " ".join(s.text.split()) for r in draft.readings for s in r.sentences):
        opening.append(_REPLACED)
    items: list[ContentItem] = [
        CodeContentItem(
            name=SUMMARY,
            value=summary_code(draft.outcome, whole=not failed_images(draft)),
            relationship_type=CONTAINS,
        )
    ]
    items += _texts(COMMENT, opening, header)
    for reading in draft.readings:
        items += _of_reading(reading, sources)
    items += _of_study(draft, sources)
    container = ContainerContentItem(name=QUALITATIVE_EVALUATIONS, relationship_type=CONTAINS)
    container.ContentSequence = ContentSequence(items)
    return container


def _provenance(draft: Draft) -> list[str]:
    model = draft.model
    return [
        f"Draft version {draft.version}, {draft.completed_at_utc:%Y-%m-%d %H:%M:%S} UTC, by RadDraft "
        f"{draft.product_version} with {model.name} {model.version}, "
        f"{model.family}, {model.precision}, {model.engine}.",
        f"Weights sha256 {model.weights_sha256}; prompts sha256 {model.prompts_sha256}; "
        f"configuration sha256 {draft.configuration_sha256}.",
    ]


def _of_reading(reading: Reading, sources: ReportSources) -> list[ContentItem]:
    evidence = sources.stand_ins[reading.image.sop_instance_uid].evidence
    header = sources.first
    items: list[ContentItem] = [_evaluation(finding, evidence, header) for finding in reading.findings]
    items += [_sentence(sentence, reading, evidence, header) for sentence in reading.sentences]
    items += _texts(NOT_ASSESSED, (f"{e.subject}: {e.reason}" for e in reading.not_assessed), header)
    items += _texts(CHECK, (check_words(check) for check in reading.checks), header)
    return items


def _of_study(draft: Draft, sources: ReportSources) -> list[ContentItem]:
    header = sources.first
    items: list[ContentItem] = []
    for outcome in draft.other_images:
        text = f"An image of the study was not read ({outcome.state}): {outcome.reason}"
        item = text_item(NOT_ASSESSED, writable(text, header))
        one = sources.stand_ins.get(outcome.image.sop_instance_uid)
        if one is not None:
            item.ContentSequence = ContentSequence([image_item(one.evidence, INFERRED_FROM)])
        items.append(item)
    checks = [check for entry in draft.study_findings for check in entry.checks] + list(draft.checks)
    items += _texts(CHECK, critical_lines(draft), header)
    return items + _texts(CHECK, (check_words(check) for check in checks), header)


def _evaluation(finding: Finding, evidence: Dataset, header: Dataset) -> CodeContentItem:
    """One label on one image: presence, side, score, operating point, tracking UID, checks."""
    item = CodeContentItem(
        name=concept(finding.label.code), value=concept(finding.presence.code), relationship_type=CONTAINS
    )
    side = finding.laterality.code
    properties: list[ContentItem] = [side_item(side)] if side is not None else []
    words = finding_line(finding)
    if finding.score is not None:
        properties += _score_items(finding.score, header)
        words = f"{words}; {score_words(finding.score)}"
    properties += [text_item(COMMENT, writable(words, header), HAS_PROPERTIES), uid_item(finding.uid)]
    properties += [
        text_item(CHECK, writable(check_words(check), header), HAS_PROPERTIES) for check in finding.checks
    ]
    properties.append(image_item(evidence, INFERRED_FROM))
    item.ContentSequence = ContentSequence(properties)
    return item


def _score_items(score: Score, header: Dataset) -> list[ContentItem]:
    """Certainty is the calibrated score where there is one, else the raw one; the comment says which it is."""
    best = score.raw if score.calibrated is None else score.calibrated
    items: list[ContentItem] = [percent_item(CERTAINTY, best)]
    if score.calibrated is not None:
        items.append(percent_item(RAW_SCORE, score.raw))
    if score.operating_point is not None:
        items.append(percent_item(OPERATING_POINT, score.operating_point))
        words = f"Called present from a raw score of {score.operating_point:.4f}"
        items.append(text_item(OPERATING_POINT_DESCRIPTION, writable(words, header), HAS_PROPERTIES))
    return items


def _sentence(sentence: Sentence, reading: Reading, evidence: Dataset, header: Dataset) -> ContentItem:
    """A sentence of the draft with the tracking UIDs it speaks of and the regions the model gave for it."""
    item = text_item(DRAFT_SENTENCE, writable(sentence_line(sentence), header))
    if is_withheld(sentence):
        return item
    mark = evidence_mark(sentence, reading)
    known: list[ContentItem] = [text_item(COMMENT, writable(mark, header), HAS_PROPERTIES)] if mark else []
    known += [uid_item(uid) for uid in sentence.finding_uids]
    image = reading.image
    for box in sentence.boxes:
        points = outline_points(box.box_px, rows=image.rows, columns=image.columns)
        if points is not None:
            region = image_region(points, evidence)
            region.RelationshipType = INFERRED_FROM.value
            known.append(region)
    known += [
        text_item(CHECK, writable(check_words(check), header), HAS_PROPERTIES) for check in sentence.checks
    ]
    known.append(image_item(evidence, INFERRED_FROM))
    item.ContentSequence = ContentSequence(known)
    return item


def _texts(name: CodedConcept, lines: Iterable[str], header: Dataset) -> list[ContentItem]:
    return [text_item(name, writable(line, header)) for line in lines]
