"""Answers become findings: one per label and box, with sides, UIDs, links and checks a reader can follow."""

from __future__ import annotations

import pytest

from clinical import (
    Box,
    CheckResult,
    CheckStatus,
    Finding,
    GroundedBox,
    ImageRef,
    Laterality,
    Presence,
    Sentence,
)
from inference.answers import read_sentences
from inference.findings import Said, put_together

LABELS = ("Atelectasis", "Cardiomegaly", "Pleural Effusion")
IMAGE = ImageRef("1.2.3", "", "", 100, 100, "DX", "MONOCHROME2")
RIGHT_BOX = GroundedBox(Box(10, 60, 30, 80))
LEFT_BOX = GroundedBox(Box(70, 50, 90, 80))


def _put_together(
    report: str,
    named: dict[str, tuple[GroundedBox, ...]],
    phrase_boxes: dict[int, tuple[GroundedBox, ...]] | None = None,
    scores: dict[str, float] | None = None,
    regions: dict[str, tuple[Box, ...]] | None = None,
) -> tuple[tuple[Finding, ...], tuple[Sentence, ...]]:
    sentences = read_sentences(report, LABELS)
    said = Said(
        named=tuple(named),
        scores={label: (scores or {}).get(label, 0.9 if label in named else 0.1) for label in LABELS},
        operating_points=dict.fromkeys(LABELS, 0.5),
        boxes=named,
        sentences=sentences,
        sentence_confidence=(None,) * len(sentences),
        phrase_boxes=phrase_boxes or {},
        regions=regions or {},
    )
    return put_together(said, IMAGE, "1.2")


def _of(findings: tuple[Finding, ...], label: str) -> list[Finding]:
    return [finding for finding in findings if finding.label.name == label]


def _status(checks: tuple[CheckResult, ...], name: str) -> CheckStatus:
    return next(check.status for check in checks if check.name == name)


def test_every_label_is_answered_and_only_present_ones_have_boxes() -> None:
    findings, _ = _put_together("", {"Pleural Effusion": (LEFT_BOX,)})
    assert {f.label.name: f.presence for f in findings} == {
        "Atelectasis": Presence.ABSENT,
        "Cardiomegaly": Presence.ABSENT,
        "Pleural Effusion": Presence.PRESENT,
    }
    assert [bool(f.boxes) for f in findings] == [False, False, True]


def test_a_score_over_the_operating_point_without_a_name_is_indeterminate_and_says_so() -> None:
    findings, _ = _put_together("", {}, scores={"Atelectasis": 0.7})
    (finding,) = _of(findings, "Atelectasis")
    assert finding.presence is Presence.INDETERMINATE
    assert _status(finding.checks, "answer-vs-score") is CheckStatus.WARN


def test_the_answer_decides_against_a_low_score_and_the_disagreement_is_shown() -> None:
    findings, _ = _put_together("", {"Atelectasis": ()}, scores={"Atelectasis": 0.2})
    (finding,) = _of(findings, "Atelectasis")
    assert finding.presence is Presence.PRESENT
    assert _status(finding.checks, "answer-vs-score") is CheckStatus.WARN


def test_text_and_box_that_agree_give_the_side_and_the_site() -> None:
    findings, sentences = _put_together(
        "There is atelectasis in the left lower lung zone.", {"Atelectasis": (LEFT_BOX,)}
    )
    (finding,) = _of(findings, "Atelectasis")
    assert finding.laterality is Laterality.LEFT
    assert finding.site is not None and finding.site.name == "left lower lung zone"
    assert finding.sentences == (0,) and sentences[0].finding_uids == (finding.uid,)
    assert _status(sentences[0].checks, "laterality-text-vs-box") is CheckStatus.PASS


def test_text_and_box_that_disagree_claim_no_side_and_withhold_the_sentence() -> None:
    findings, sentences = _put_together(
        "There is atelectasis in the right lower lung zone.", {"Atelectasis": (LEFT_BOX,)}
    )
    (finding,) = _of(findings, "Atelectasis")
    assert finding.laterality is Laterality.UNSPECIFIED and finding.site is None
    assert _status(finding.checks, "laterality-text-vs-box") is CheckStatus.FAIL
    assert _status(sentences[0].checks, "laterality-text-vs-box") is CheckStatus.FAIL


def test_text_and_box_at_opposite_ends_of_the_lung_claim_no_site_and_withhold_the_sentence() -> None:
    text, named = "There is atelectasis in the left upper lung zone.", {"Atelectasis": (LEFT_BOX,)}
    lungs = {"left lung": (Box(55, 5, 95, 85),), "right lung": (Box(5, 5, 45, 85),)}
    high = {"left lung": (Box(55, 45, 95, 85),), "right lung": (Box(5, 45, 45, 85),)}
    findings, sentences = _put_together(text, named, {0: (LEFT_BOX,)}, regions=high)
    assert _of(findings, "Atelectasis")[0].site is not None
    low = {"Atelectasis": (GroundedBox(Box(70, 66, 90, 80)),)}
    findings, sentences = _put_together(text, low, {0: low["Atelectasis"]}, regions=lungs)
    (finding,) = _of(findings, "Atelectasis")
    assert finding.site is None and finding.laterality is Laterality.LEFT
    assert _status(finding.checks, "zone-text-vs-box") is CheckStatus.FAIL
    assert _status(sentences[0].checks, "zone-text-vs-box") is CheckStatus.FAIL
    assert sentences[0].text == text


def test_of_two_told_zones_each_box_has_its_own() -> None:
    lungs = {"left lung": (Box(55, 5, 95, 85),), "right lung": (Box(5, 5, 45, 85),)}
    findings, _ = _put_together(
        "There is atelectasis in the left upper lung zone. There is atelectasis in the left lower lung zone.",
        {"Atelectasis": (GroundedBox(Box(70, 10, 90, 25)), GroundedBox(Box(70, 66, 90, 80)))},
        regions=lungs,
    )
    sites = [finding.site and finding.site.name for finding in _of(findings, "Atelectasis")]
    assert sites == ["left upper lung zone", "left lower lung zone"]


def test_a_box_gives_the_side_where_the_text_has_none() -> None:
    findings, _ = _put_together("There is atelectasis.", {"Atelectasis": (LEFT_BOX,)})
    assert _of(findings, "Atelectasis")[0].laterality is Laterality.LEFT


def test_an_organ_of_the_midline_gets_no_side_from_its_box() -> None:
    findings, sentences = _put_together("There is cardiomegaly.", {"Cardiomegaly": (LEFT_BOX,)})
    assert _of(findings, "Cardiomegaly")[0].laterality is Laterality.UNSPECIFIED
    assert _status(sentences[0].checks, "laterality-text-vs-box") is CheckStatus.NOT_RUN


def test_bilateral_text_with_a_box_on_each_side_gives_two_sided_findings() -> None:
    findings, sentences = _put_together(
        "There is a bilateral pleural effusion.", {"Pleural Effusion": (RIGHT_BOX, LEFT_BOX)}
    )
    sides = [f.laterality for f in _of(findings, "Pleural Effusion")]
    # By (y0, x0): the box on the patient's left begins higher.
    assert sides == [Laterality.LEFT, Laterality.RIGHT]
    assert len({f.uid for f in findings}) == len(findings)
    assert _status(sentences[0].checks, "laterality-text-vs-box") is CheckStatus.PASS
    assert len(sentences[0].finding_uids) == 2


def test_bilateral_text_with_boxes_on_one_side_is_a_warning() -> None:
    _, sentences = _put_together("There is a bilateral pleural effusion.", {"Pleural Effusion": (RIGHT_BOX,)})
    assert _status(sentences[0].checks, "laterality-text-vs-box") is CheckStatus.WARN


def test_two_sentences_of_one_label_each_link_to_their_own_side() -> None:
    findings, sentences = _put_together(
        "There is a small right pleural effusion. There is a large left pleural effusion.",
        {"Pleural Effusion": (RIGHT_BOX, LEFT_BOX)},
    )
    by_side = {f.laterality: f for f in _of(findings, "Pleural Effusion")}
    assert by_side[Laterality.RIGHT].sentences == (0,)
    assert by_side[Laterality.LEFT].sentences == (1,)
    assert all(check.status is not CheckStatus.FAIL for sentence in sentences for check in sentence.checks)


def test_a_sentence_is_checked_against_its_own_boxes_first() -> None:
    _, sentences = _put_together(
        "There is a right pleural effusion.", {"Pleural Effusion": (RIGHT_BOX,)}, {0: (LEFT_BOX,)}
    )
    assert _status(sentences[0].checks, "laterality-text-vs-box") is CheckStatus.FAIL


def test_the_uid_of_a_finding_does_not_depend_on_the_order_of_boxes() -> None:
    lower = GroundedBox(Box(70, 82, 90, 95))
    first, _ = _put_together("", {"Atelectasis": (LEFT_BOX, lower)})
    second, _ = _put_together("", {"Atelectasis": (lower, LEFT_BOX)})
    assert [(f.uid, f.boxes) for f in first] == [(f.uid, f.boxes) for f in second]


def test_a_sentence_that_denies_what_is_named_fails_and_one_that_adds_warns() -> None:
    _, sentences = _put_together("There is no atelectasis. There is cardiomegaly.", {"Atelectasis": ()})
    assert _status(sentences[0].checks, "report-vs-classification") is CheckStatus.FAIL
    assert _status(sentences[1].checks, "report-vs-classification") is CheckStatus.WARN


def test_a_report_that_asserts_and_denies_the_same_fails_both_sentences() -> None:
    _, sentences = _put_together("There is atelectasis. There is no atelectasis.", {"Atelectasis": ()})
    assert {_status(s.checks, "report-contradiction") for s in sentences} == {CheckStatus.FAIL}


@pytest.mark.parametrize(
    ("report", "status"),
    [
        ("There is a right pleural effusion. There is no left pleural effusion.", CheckStatus.PASS),
        ("There is no left pleural effusion. There is a pleural effusion.", CheckStatus.PASS),
        ("There is a left pleural effusion. There is no left pleural effusion.", CheckStatus.FAIL),
        ("There is a right pleural effusion. There is no pleural effusion.", CheckStatus.FAIL),
        ("There are bilateral pleural effusions. There is no left pleural effusion.", CheckStatus.FAIL),
        ("There is a pleural effusion. There is no pleural effusion.", CheckStatus.FAIL),
    ],
)
def test_only_what_is_asserted_and_denied_of_the_same_side_is_a_contradiction(
    report: str, status: CheckStatus
) -> None:
    _, sentences = _put_together(report, {"Pleural Effusion": ()})
    assert {_status(s.checks, "report-contradiction") for s in sentences} == {status}


def test_a_denial_of_one_side_does_not_contradict_the_classification_answer() -> None:
    _, (sided, everywhere) = _put_together(
        "There is no left pleural effusion. No pleural effusion is seen.", {"Pleural Effusion": ()}
    )
    assert _status(sided.checks, "report-vs-classification") is CheckStatus.PASS
    assert _status(everywhere.checks, "report-vs-classification") is CheckStatus.FAIL


def test_lengths_and_comparisons_are_noticed() -> None:
    _, sentences = _put_together("There is a 3 cm lesion. The effusion is unchanged.", {})
    assert _status(sentences[0].checks, "measurement-without-scale") is CheckStatus.FAIL
    assert _status(sentences[1].checks, "comparison-without-prior") is CheckStatus.WARN
