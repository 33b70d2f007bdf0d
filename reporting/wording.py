"""The words of a result, the same in every face."""

from __future__ import annotations

from clinical import CheckResult, CheckStatus, Draft, DraftOutcome, Finding, Presence, Score, Sentence

DRAFT_TITLE = "AI DRAFT - NOT REVIEWED BY A RADIOLOGIST"
SCORES_NOTE = "Scores are the model's own and uncalibrated: no probabilities of disease."
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
    """One finding as pictures list it: "Pleural Effusion, right: score 0.87"."""
    said = [f"score {finding.score.raw:.2f}"] if finding.score is not None else []
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


def concerns(checks: tuple[CheckResult, ...]) -> list[CheckResult]:
    """Checks a reader has to see."""
    return [check for check in checks if check.status in _CONCERNS]
