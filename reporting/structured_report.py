"""The findings as a TID 1500 Measurement Report (PS3.16), Comprehensive 3D SR.

Groups under Imaging Measurements always have a region: a group without one makes viewers refuse the whole report.
What is said of the image as a whole stands in the Qualitative Evaluations container of the root.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import highdicom as hd
import numpy as np
from highdicom.sr import (
    AlgorithmIdentification,
    CodeContentItem,
    CodedConcept,
    Comprehensive3DSR,
    ContainerContentItem,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    ImageRegion,
    MeasurementReport,
    NumContentItem,
    ObservationContext,
    ObserverContext,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    SourceImageForRegion,
    TextContentItem,
    TrackingIdentifier,
)
from highdicom.sr.enum import GraphicTypeValues, RelationshipTypeValues
from highdicom.sr.value_types import ContentItem
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.sr.codedict import codes

from clinical import CodedTerm, Draft, DraftOutcome, Finding, GroundedBox, Reading, derived_uid
from reporting.equipment import copy_source, result_uid, series_description, software_versions, stamp
from reporting.site_profile import DEFAULT_PROFILE, SiteProfile
from reporting.source import SourceImage, copied_attributes, encodable, evidence_of
from reporting.wording import finding_line, is_withheld, outcome_sentence, sentence_line

_CONTAINS = RelationshipTypeValues.CONTAINS
_QUALITATIVE_EVALUATIONS = CodedConcept("C0034375", "UMLS", "Qualitative Evaluations")
_COMMENT = CodedConcept("121106", "DCM", "Comment")
_SUMMARY = CodedConcept("111017", "DCM", "CAD Processing and Findings Summary")
_CERTAINTY = CodedConcept("111012", "DCM", "Certainty of Finding")
_PRESENCE = CodedConcept("705057003", "SCT", "Presence")
_PERCENT = CodedConcept("%", "UCUM", "Percent")
_CHEST_SINGLE_VIEW = CodedConcept("36554-4", "LN", "XR Chest Single view")
# CID 6047: what the algorithms came to.
_SUMMARIES = {
    DraftOutcome.NO_FINDINGS: CodedConcept("111241", "DCM", "All algorithms succeeded; without findings"),
    DraftOutcome.FINDINGS: CodedConcept("111242", "DCM", "All algorithms succeeded; with findings"),
    DraftOutcome.NOT_ASSESSED: CodedConcept("111245", "DCM", "No algorithms succeeded; without findings"),
    DraftOutcome.FAILED: CodedConcept("111245", "DCM", "No algorithms succeeded; without findings"),
}
_TEXT_LONGEST = 1024


def build_sr(
    draft: Draft, sources: Mapping[str, SourceImage], profile: SiteProfile = DEFAULT_PROFILE
) -> Dataset:
    """The Draft's structured report: UNVERIFIED, PRELIMINARY, one per Draft, in a series of its own.

    Parameters
    ----------
    sources
        By SOP Instance UID; at least one image of the Draft must be there.
    """
    headers = {uid: sources[uid].header for uid in draft.image_uids if uid in sources}
    first = next(iter(headers.values()))
    evidence = {uid: evidence_of(header) for uid, header in headers.items()}
    content = MeasurementReport(
        observation_context=_context(draft, profile),
        procedure_reported=_procedure(first),
        imaging_measurements=_groups(draft, evidence, profile),
        title=codes.DCM.ImagingMeasurementReport,
        referenced_images=list(evidence.values()),
    )
    content[0].ContentSequence.append(_evaluations(draft, first))
    report = Comprehensive3DSR(
        evidence=list(evidence.values()),
        content=content,
        series_instance_uid=result_uid(draft, "sr-series"),
        series_number=profile.sr_series_number,
        sop_instance_uid=result_uid(draft, "sr"),
        instance_number=1,
        manufacturer=profile.manufacturer,
        is_complete=draft.outcome is not DraftOutcome.FAILED,
        is_final=False,
        is_verified=False,
        record_evidence=True,
        series_description=series_description("findings", draft, first),
    )
    copy_source(report, copied_attributes(first))
    _make_repeatable(report, draft)
    stamp(report, draft, profile)
    return report


def _make_repeatable(report: Dataset, draft: Draft) -> None:
    """Every date in the tree comes from the Draft (highdicom puts the present into some)."""
    made = draft.completed_at_utc
    report.ContentDate, report.ContentTime = made.strftime("%Y%m%d"), made.strftime("%H%M%S")
    if "ObservationDateTime" in report:
        report.ObservationDateTime = made.strftime("%Y%m%d%H%M%S+0000")


def _context(draft: Draft, profile: SiteProfile) -> ObservationContext:
    """TID 1001: the observer is a device (TID 1004)."""
    device = DeviceObserverIdentifyingAttributes(
        uid=draft.model.device_uid,
        name=draft.model.name[:64],
        manufacturer_name=profile.manufacturer,
        model_name=software_versions(draft),
        serial_number=draft.model.weights_sha256[:16],
    )
    return ObservationContext(
        observer_device_context=ObserverContext(
            observer_type=codes.DCM.Device, observer_identifying_attributes=device
        )
    )


def _procedure(header: Dataset) -> CodedConcept:
    """The imaging procedure analysed, from the source where it says so, never the algorithm (IHE AIR)."""
    for keyword in ("ProcedureCodeSequence", "RequestedProcedureCodeSequence"):
        try:
            item = header[keyword].value[0]
            return CodedConcept(item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning)
        except (KeyError, IndexError, AttributeError, ValueError):
            continue
    return _CHEST_SINGLE_VIEW


def _groups(
    draft: Draft, evidence: Mapping[str, Dataset], profile: SiteProfile
) -> list[PlanarROIMeasurementsAndQualitativeEvaluations] | None:
    groups = [
        _group(draft, reading, finding, index, box, number, evidence, profile)
        for reading in draft.readings
        if reading.image.sop_instance_uid in evidence
        for number, finding in enumerate(reading.present, start=1)
        for index, box in enumerate(finding.boxes)
    ]
    return groups or None


def _group(
    draft: Draft,
    reading: Reading,
    finding: Finding,
    index: int,
    box: GroundedBox,
    number: int,
    evidence: Mapping[str, Dataset],
    profile: SiteProfile,
) -> PlanarROIMeasurementsAndQualitativeEvaluations:
    """TID 1410 with one closed rectangle on the image the finding was seen on."""
    header = evidence[reading.image.sop_instance_uid]
    points = box_points(box, rows=reading.image.rows, columns=reading.image.columns)
    uid = finding.uid if index == 0 else derived_uid("box", finding.uid, str(index))
    group = PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=uid, identifier=f"Finding {number}"),
        referenced_region=ImageRegion(
            graphic_type=GraphicTypeValues.POLYLINE,
            graphic_data=points,
            source_image=SourceImageForRegion.from_source_image(header),
        ),
        finding_type=_concept(finding.label.code),
        algorithm_id=_algorithm(draft, profile),
        finding_sites=_sites(finding),
    )
    comment = TextContentItem(
        name=_COMMENT, value=encodable(finding_line(finding), header), relationship_type=_CONTAINS
    )
    group[0].ContentSequence.append(comment)
    return group


def box_points(box: GroundedBox, *, rows: int, columns: int) -> NDArray[np.float64]:
    r"""Closed rectangle (5, 2) of (column, row) pairs, inside the image, rounded to half pixels.

    SCOORD data are stored as float32 and share GSPS's frame: 0\0 is the top-left corner of the top-left pixel
    (PS3.3 C.18.6.1.1).
    """
    inside = box.box_px.clamped(columns=columns, rows=rows)
    x0, y0, x1, y1 = (round(value * 2) / 2 for value in (inside.x0, inside.y0, inside.x1, inside.y1))
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]], dtype=np.float64)


def _concept(term: CodedTerm) -> CodedConcept:
    return CodedConcept(term.value, term.scheme, term.meaning[:64])


def _sites(finding: Finding) -> list[FindingSite] | None:
    if finding.site is not None:
        side = finding.site.laterality.code
        return [FindingSite(_concept(finding.site.code), laterality=_concept(side) if side else None)]
    side = finding.laterality.code
    if side is None:
        return None
    # Without a named site the side still belongs to one: the thorax is true of every finding here.
    return [FindingSite(CodedConcept("51185008", "SCT", "Chest"), laterality=_concept(side))]


def _algorithm(draft: Draft, profile: SiteProfile) -> AlgorithmIdentification:
    """TID 4019: family is artificial intelligence, so that the result is known for what it is."""
    model = draft.model
    return AlgorithmIdentification(
        name=model.name[:64],
        version=model.version[:64],
        family=CodedConcept("123110", "DCM", "Artificial Intelligence"),
        manufacturer=profile.manufacturer,
        parameters=[
            f"weights {model.weights_sha256}",
            f"prompts {model.prompts_sha256}",
            f"configuration {draft.configuration_sha256}",
            f"engine {model.engine}",
        ],
    )


def _evaluations(draft: Draft, header: Dataset) -> ContainerContentItem:
    """Results of the images as a whole: summary, every label asked about, sentences, what was not assessed."""
    container = ContainerContentItem(name=_QUALITATIVE_EVALUATIONS, relationship_type=_CONTAINS)
    items: list[ContentItem] = [
        CodeContentItem(name=_SUMMARY, value=_SUMMARIES[draft.outcome], relationship_type=_CONTAINS)
    ]
    statements = [draft.model.statement, outcome_sentence(draft), _provenance(draft)]
    items += _texts([text for text in statements if text], header)
    for reading in draft.readings:
        items += [_evaluation(finding, header) for finding in reading.findings]
        items += _texts(_said(reading), header)
    items += _texts([f"Not read: {outcome.reason}" for outcome in draft.other_images], header)
    container.ContentSequence = hd.sr.ContentSequence(items)
    return container


def _provenance(draft: Draft) -> str:
    model = draft.model
    return (
        f"Draft version {draft.version} by {model.name} {model.version}, weights {model.weights_sha256}, "
        f"prompts {model.prompts_sha256}, configuration {draft.configuration_sha256}, {model.engine}. "
        "Scores are uncalibrated and no probabilities of disease."
    )


def _evaluation(finding: Finding, header: Dataset) -> CodeContentItem:
    """Presence of one label with its score, operating point and checks."""
    item = CodeContentItem(
        name=_concept(finding.label.code), value=_concept(finding.presence.code), relationship_type=_CONTAINS
    )
    children: list[ContentItem] = []
    if finding.score is not None:
        percent = round(finding.score.raw * 100, 2)
        children.append(
            NumContentItem(
                name=_CERTAINTY,
                value=percent,
                unit=_PERCENT,
                relationship_type=RelationshipTypeValues.HAS_PROPERTIES,
            )
        )
        point = finding.score.operating_point
        said = "no operating point" if point is None else f"operating point {point:.3f}"
        text = f"{finding_line(finding)}; {said}; tracking UID {finding.uid}"
    else:
        text = f"{finding_line(finding)}; tracking UID {finding.uid}"
    text += "".join(
        f"; {c.name} {c.status.value}: {c.evidence}" for c in finding.checks if c.status.value != "pass"
    )
    children.append(
        TextContentItem(
            name=_COMMENT,
            value=encodable(text, header)[:_TEXT_LONGEST],
            relationship_type=RelationshipTypeValues.HAS_PROPERTIES,
        )
    )
    item.ContentSequence = hd.sr.ContentSequence(children)
    return item


def _said(reading: Reading) -> list[str]:
    lines = []
    for sentence in reading.sentences:
        uids = (
            f" [{', '.join(sentence.finding_uids)}]"
            if sentence.finding_uids and not is_withheld(sentence)
            else ""
        )
        lines.append(f"AI draft: {sentence_line(sentence)}{uids}")
    lines += [f"Not assessed: {entry.subject}: {entry.reason}" for entry in reading.not_assessed]
    lines += [
        f"Check {c.name} {c.status.value}: {c.evidence}" for c in reading.checks if c.status.value != "pass"
    ]
    return lines


def _texts(lines: Sequence[str], header: Dataset) -> list[ContentItem]:
    return [
        TextContentItem(
            name=_COMMENT, value=encodable(line, header)[:_TEXT_LONGEST], relationship_type=_CONTAINS
        )
        for line in lines
    ]
