"""What the structured report says, and in which shape viewers need it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from pydicom import Dataset

from clinical import Draft, DraftOutcome, ImageOutcome, derived_uid
from reporting import SourceImage, build_sr
from tests.reporting import crafted


def children(item: Dataset, meaning: str) -> list[Dataset]:
    """Content items of that concept name directly below `item`."""
    return [
        child
        for child in item.get("ContentSequence", [])
        if child.get("ConceptNameCodeSequence") and child.ConceptNameCodeSequence[0].CodeMeaning == meaning
    ]


def below(item: Dataset) -> Iterator[Dataset]:
    """Every content item below `item`."""
    for child in item.get("ContentSequence", []):
        yield child
        yield from below(child)


@pytest.fixture(scope="module")
def header() -> Dataset:
    return crafted.radiograph()


@pytest.fixture(scope="module")
def draft(header: Dataset) -> Draft:
    return crafted.draft([header])


@pytest.fixture(scope="module")
def report(draft: Draft, header: Dataset) -> Dataset:
    return build_sr(draft, crafted.sources(header))


def evaluations(report: Dataset) -> Dataset:
    return children(report, "Qualitative Evaluations")[0]


def test_report_is_unverified_preliminary_and_by_a_device(report: Dataset) -> None:
    assert (report.VerificationFlag, report.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
    assert report.CompletionFlag == "COMPLETE"
    assert "VerifyingObserverSequence" not in report
    assert children(report, "Observer Type")[0].ConceptCodeSequence[0].CodeValue == "121007"
    assert crafted.MODEL.device_uid == children(report, "Device Observer UID")[0].UID
    assert not children(report, "Person Observer Name")


def test_report_is_a_measurement_report_by_template(report: Dataset) -> None:
    assert report.ConceptNameCodeSequence[0].CodeValue == "126000"
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    reference = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    assert reference.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == f"{crafted.STUDY_UID}.1.1"


def test_every_box_has_a_group_with_region_label_and_finding_uid(report: Dataset, draft: Draft) -> None:
    groups = children(report, "Imaging Measurements")[0].ContentSequence
    boxed = [finding for finding in draft.readings[0].findings if finding.boxes]
    assert len(groups) == len(boxed) == 2
    for group, finding in zip(groups, boxed, strict=True):
        assert group.ConceptNameCodeSequence[0].CodeMeaning == "Measurement Group"
        assert finding.uid == children(group, "Tracking Unique Identifier")[0].UID
        assert children(group, "Finding")[0].ConceptCodeSequence[0].CodeValue == finding.label.code.value
        region = children(group, "Image Region")[0]
        assert (region.GraphicType, len(region.GraphicData)) == ("POLYLINE", 10)
        assert region.GraphicData[:2] == region.GraphicData[-2:]
        selected = region.ContentSequence[0]
        assert (selected.RelationshipType, selected.ValueType) == ("SELECTED FROM", "IMAGE")
        assert not [item for item in below(group) if item.ValueType == "NUM"]
        family = children(group, "Algorithm Family")[0].ConceptCodeSequence[0]
        assert family.CodeValue == "123110"
    assert children(groups[0], "Comment")[0].TextValue == "AI: Pleural Effusion, right (0.87)"
    assert children(groups[0], "Tracking Identifier")[0].TextValue == "Finding 1"


def test_finding_code_carries_its_equivalents_and_its_side(report: Dataset) -> None:
    group = children(report, "Imaging Measurements")[0].ContentSequence[0]
    code = children(group, "Finding")[0].ConceptCodeSequence[0]
    assert [(item.CodeValue, item.CodingSchemeDesignator) for item in code.EquivalentCodeSequence] == [
        ("RID34539", "RADLEX"),
        ("RDES254", "RADELEMENT"),
        ("OIFM_CDE_000254", "99OIFM"),
    ]
    side = children(children(group, "Finding Site")[0], "Laterality")[0]
    assert side.ConceptCodeSequence[0].CodeMeaning == "Right"


def test_every_label_asked_about_has_presence_score_and_operating_point(
    report: Dataset, draft: Draft
) -> None:
    answers = [item for item in evaluations(report).ContentSequence if item.ValueType == "CODE"][1:]
    for answer, finding in zip(answers, draft.readings[0].findings, strict=True):
        assert answer.ConceptNameCodeSequence[0].CodeValue == finding.label.code.value
        assert answer.ConceptCodeSequence[0].CodeMeaning.lower() == finding.presence.value
        assert finding.score is not None
        certainty = children(answer, "Certainty of Finding")[0].MeasuredValueSequence[0]
        assert float(certainty.NumericValue) == pytest.approx(finding.score.raw * 100)
        point = children(answer, "Score from which a finding is called present")[0]
        assert float(point.MeasuredValueSequence[0].NumericValue) == 50.0
        assert "uncalibrated" in children(answer, "Comment")[0].TextValue
        assert finding.uid == children(answer, "Tracking Unique Identifier")[0].UID


def test_sentences_name_their_findings_and_withheld_ones_are_not_quoted(
    report: Dataset, draft: Draft
) -> None:
    said = children(evaluations(report), "Sentence of the draft")
    assert [item.TextValue for item in said][:2] == ["Right pleural effusion.", "No pneumothorax."]
    assert draft.readings[0].findings[0].uid == children(said[0], "Tracking Unique Identifier")[0].UID
    assert children(said[0], "Image Region")[0].RelationshipType == "INFERRED FROM"
    assert "withheld" in said[2].TextValue
    assert "Unchanged" not in "".join(item.get("TextValue", "") for item in below(report))


def test_report_says_what_made_it_and_what_it_must_not_be_used_for(report: Dataset) -> None:
    words = " ".join(item.get("TextValue", "") for item in below(evaluations(report)))
    for expected in (
        "AI RESULT - NOT VERIFIED",
        crafted.STATEMENT,
        crafted.MODEL.weights_sha256,
        crafted.MODEL.prompts_sha256,
        "Lung cyst",
        "two frontal images",
    ):
        assert expected in words


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (DraftOutcome.FINDINGS, "111242"),
        (DraftOutcome.NO_FINDINGS, "111241"),
        (DraftOutcome.NOT_ASSESSED, "111245"),
        (DraftOutcome.FAILED, "111245"),
    ],
)
def test_outcomes_are_told_apart_by_code_and_words(header: Dataset, outcome: DraftOutcome, code: str) -> None:
    if outcome in (DraftOutcome.FINDINGS, DraftOutcome.NO_FINDINGS):
        draft = crafted.draft([header], findings=outcome is DraftOutcome.FINDINGS)
    else:
        draft = crafted.unread_draft([header], outcome, reason="the reason of the day")
    report = build_sr(draft, {str(header.SOPInstanceUID): SourceImage(header)})
    summary = children(evaluations(report), "CAD Processing and Findings Summary")[0]
    assert summary.ConceptCodeSequence[0].CodeValue == code
    words = " ".join(item.get("TextValue", "") for item in below(report))
    assert ("the reason of the day" in words) is (not draft.readings)
    # The container viewers look for is there without findings too, and then empty.
    measurements = children(report, "Imaging Measurements")[0]
    assert ("ContentSequence" in measurements) is (outcome is DraftOutcome.FINDINGS)
    assert report.CompletionFlag == ("PARTIAL" if outcome is DraftOutcome.FAILED else "COMPLETE")


def test_one_failed_image_makes_the_report_partial(draft: Draft, header: Dataset) -> None:
    other = crafted.radiograph(number=2)
    lost = ImageOutcome(crafted.image_ref(other), "quarantined", "decode-timeout", "decoding took too long")
    known = {**crafted.sources(header), str(other.SOPInstanceUID): SourceImage(other)}
    report = build_sr(replace(draft, other_images=(lost,)), known)
    assert report.CompletionFlag == "PARTIAL"
    summary = children(evaluations(report), "CAD Processing and Findings Summary")[0]
    assert summary.ConceptCodeSequence[0].CodeValue == "111244"
    [entry] = [
        item
        for item in children(evaluations(report), "Not assessed")
        if "decoding took too long" in item.TextValue
    ]
    assert entry.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == other.SOPInstanceUID


def test_further_boxes_of_a_finding_have_tracking_uids_of_their_own(draft: Draft, header: Dataset) -> None:
    reading = draft.readings[0]
    twice = replace(reading.findings[0], boxes=reading.findings[0].boxes * 2)
    changed = replace(draft, readings=(replace(reading, findings=(twice,)),))
    report = build_sr(changed, crafted.sources(header))
    groups = children(report, "Imaging Measurements")[0].ContentSequence
    uids = [children(group, "Tracking Unique Identifier")[0].UID for group in groups]
    assert uids == [twice.uid, derived_uid("box", twice.uid, "1")]


def test_the_tree_names_the_algorithm_as_the_contributing_equipment_does() -> None:
    """IHE AIR Rev. 1.3, Table 6.5.3.1-1: the content items have the values of the corresponding attributes."""
    header = crafted.radiograph()
    report = build_sr(crafted.draft([header]), crafted.sources(header))
    (equipment,) = report.ContributingEquipmentSequence
    said: dict[str, set[str]] = {}
    for item in below(report):
        if item.ValueType in ("TEXT", "UIDREF"):
            value = str(item.TextValue if item.ValueType == "TEXT" else item.UID)
            said.setdefault(item.ConceptNameCodeSequence[0].CodeValue, set()).add(value)
    assert said["121014"] == {equipment.Manufacturer}
    assert said["121015"] == said["111001"] == {equipment.ManufacturerModelName}
    assert said["111003"] == {equipment.SoftwareVersions}
    assert said["121012"] == {equipment.DeviceUID}
    purpose = equipment.PurposeOfReferenceCodeSequence[0]
    assert (purpose.CodeValue, purpose.CodingSchemeDesignator) == ("109102", "DCM")
    assert crafted.MODEL.engine in report.SoftwareVersions
