"""The words of a result, the same in every face."""

from __future__ import annotations

from clinical import (
    Box,
    CheckResult,
    CheckStatus,
    Draft,
    DraftOutcome,
    Finding,
    Polarity,
    Presence,
    Reading,
    Score,
    Sentence,
)
from reporting.numbering import numbered_findings

SCORES_NOTE = "Scores are the model's own, calibrated only where it says so: no probabilities of disease."
NO_FINDING = "No finding called present."
_CONCERNS = (CheckStatus.WARN, CheckStatus.FAIL)


def outcome_sentence(draft: Draft) -> str:
    """The outcome in words, with its reasons where nothing was assessed or the reading failed."""
    if draft.outcome is DraftOutcome.FINDINGS:
        labels = dict.fromkeys(finding.label.name for r in draft.readings for finding in r.present)
        return f"Called present: {', '.join(labels)}." if labels else "Findings were called present."
    if draft.outcome is DraftOutcome.NO_FINDINGS:
        return NO_FINDING
    start = (
        "Not assessed because" if draft.outcome is DraftOutcome.NOT_ASSESSED else "The reading failed because"
    )
    reasons = "; ".join(dict.fromkeys(entry.reason.strip().rstrip(".") for entry in draft.reasons))
    return f"{start} {reasons or 'no reason was recorded'}."


def indication_lines(indication: str) -> list[str]:
    """Why the images were ordered, said to be the order's words; none where no order has said it."""
    return [f"Indication (from the order): {indication}"] if indication else []


def side_and_name(finding: Finding) -> str:
    """Label with its site or side: "Lung Opacity, right lower lung zone", "Pleural Effusion, right"."""
    return f"{finding.label.name}, {finding.site.name}" if finding.site is not None else finding.description


def finding_line(finding: Finding) -> str:
    """One finding as "AI: Pleural Effusion, right (0.87)"; the number is the label's raw score.

    What was not called present says so: "AI: Pneumothorax, absent (0.04)".
    """
    called = "" if finding.presence is Presence.PRESENT else f", {finding.presence.value}"
    score = f" ({finding.score.raw:.2f})" if finding.score is not None else ""
    return f"AI: {finding.description}{called}{score}"


def legend_line(finding: Finding) -> str:
    """One finding as pictures list it: "Pleural Effusion, right: score 0.87, calibrated 0.91"."""
    score = finding.score
    said = [f"score {score.raw:.2f}"] if score is not None else []
    said += (
        [f"calibrated {score.calibrated:.2f}"] if score is not None and score.calibrated is not None else []
    )
    said += [] if finding.boxes else ["no box"]
    return f"{side_and_name(finding)}{': ' if said else ''}{', '.join(said)}"


def score_words(score: Score) -> str:
    """Score, operating point and calibration in words."""
    parts = [f"raw score {score.raw:.4f}"]
    if score.operating_point is not None:
        parts.append(f"called present from {score.operating_point:.4f}")
    else:
        parts.append("no operating point")
    if score.calibrated is not None:
        parts.append(
            f"calibrated {score.calibrated:.4f} by {score.calibration_id or 'an unnamed calibration'}"
        )
    else:
        parts.append("uncalibrated")
    return ", ".join(parts)


def check_words(check: CheckResult) -> str:
    """One check as "Check laterality-text-vs-box (version 1), warn: text says left, box lies right"."""
    return f"Check {check.name} (version {check.version}), {check.status.value}: {check.evidence}"


def is_withheld(sentence: Sentence) -> bool:
    """Whether a failed check keeps this sentence from being shown."""
    return any(check.status is CheckStatus.FAIL for check in sentence.checks)


def sentence_line(sentence: Sentence) -> str:
    """A sentence as it may be shown: as it is, marked, or withheld."""
    if is_withheld(sentence):
        names = ", ".join(c.name for c in sentence.checks if c.status is CheckStatus.FAIL)
        return f"[a sentence is withheld by a failed check: {names}]"
    warnings = [check.evidence for check in sentence.checks if check.status is CheckStatus.WARN]
    return f"{sentence.text} [check: {'; '.join(warnings)}]" if warnings else sentence.text


def marked_sentence(sentence: Sentence, reading: Reading) -> str:
    """A sentence as `sentence_line` shows it, followed by its `evidence_mark` in brackets."""
    mark = evidence_mark(sentence, reading)
    return f"{sentence_line(sentence)} [{mark}]" if mark else sentence_line(sentence)


def evidence_mark(sentence: Sentence, reading: Reading) -> str:
    """What stands behind a sentence; empty for a neutral or withheld one.

    Of a positive one the numbers its findings have on the pictures, or the box the model gave for it, or that nothing
    supports it; of a negative one the score of what it denies, or that none stands behind it.
    """
    if is_withheld(sentence):
        return ""
    numbers = {entry.finding.uid: entry.number for entry in numbered_findings(reading)}
    known = sorted({numbers[uid] for uid in sentence.finding_uids if uid in numbers})
    if known:
        return ", ".join(str(number) for number in known)
    if sentence.polarity is Polarity.POSITIVE:
        boxes = "; ".join(box_words(box.box_px) for box in sentence.boxes)
        return f"{boxes}, no finding" if boxes else "no finding or box supports this sentence"
    if sentence.polarity is Polarity.NEGATIVE:
        denied = [finding for finding in reading.findings if finding.uid in sentence.finding_uids]
        scored = [f"{f.label.name} {f.score.raw:.2f}" for f in denied if f.score is not None]
        return f"score {', '.join(scored)}" if scored else "no score stands behind this denial"
    return ""


def unsupported_lines(reading: Reading) -> list[str]:
    """Positive sentences nothing stands behind, for faces that do not show the draft's text."""
    known = {entry.finding.uid for entry in numbered_findings(reading)}
    return [
        f"Stated without a finding or box: {sentence_line(sentence)}"
        for sentence in reading.sentences
        if sentence.polarity is Polarity.POSITIVE
        and not is_withheld(sentence)
        and not sentence.boxes
        and known.isdisjoint(sentence.finding_uids)
    ]


def negative_lines(reading: Reading) -> list[str]:
    """Labels that were asked about and not called present, with their scores."""
    lines = []
    for title, presence in (("Indeterminate", Presence.INDETERMINATE), ("Called absent", Presence.ABSENT)):
        said = dict.fromkeys(
            f"{f.label.name}{f' {f.score.raw:.2f}' if f.score is not None else ' without a score'}"
            for f in reading.findings
            if f.presence is presence
        )
        if said:
            lines.append(f"{title} (score): {', '.join(said)}")
    return lines


def box_words(box: Box) -> str:
    """A box in pixels of the stored image, as "box x 30-111 y 180-251"."""
    return f"box x {box.x0:.0f}-{box.x1:.0f} y {box.y0:.0f}-{box.y1:.0f}"


def critical_lines(draft: Draft) -> list[str]:
    """What the critical-finding channel raised, in words that ask for a look and claim nothing."""
    return [f"LOOK FIRST: {entry.words}" for entry in draft.critical]


def concerns(checks: tuple[CheckResult, ...]) -> list[CheckResult]:
    """Checks a reader has to see."""
    return [check for check in checks if check.status in _CONCERNS]
