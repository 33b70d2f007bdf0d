"""The words of a result, the same in every face."""

from __future__ import annotations

from clinical import CheckStatus, Draft, DraftOutcome, Finding, Reading, Sentence

NOT_VERIFIED = "AI RESULT - NOT VERIFIED"
DRAFT_TITLE = "AI DRAFT - NOT REVIEWED BY A RADIOLOGIST"

_OUTCOMES = {
    DraftOutcome.FINDINGS: "Findings were called present.",
    DraftOutcome.NO_FINDINGS: "No finding was called present.",
    DraftOutcome.NOT_ASSESSED: "Not assessed.",
    DraftOutcome.FAILED: "The reading failed.",
}


def outcome_sentence(draft: Draft) -> str:
    """The outcome in words, with its reasons where it was not assessed or failed."""
    text = _OUTCOMES[draft.outcome]
    if draft.reasons:
        reasons = "; ".join(dict.fromkeys(reason.reason for reason in draft.reasons))
        start = (
            "Not assessed because" if draft.outcome is DraftOutcome.NOT_ASSESSED else "The reading failed:"
        )
        text = f"{start} {reasons}."
    return text


def finding_line(finding: Finding) -> str:
    """One finding as "AI: Pleural Effusion, right (score 0.87)"."""
    score = f" (score {finding.score.raw:.2f})" if finding.score else ""
    return f"AI: {finding.description}{score}"


def is_withheld(sentence: Sentence) -> bool:
    """Whether a failed check keeps this sentence from being shown."""
    return any(check.status is CheckStatus.FAIL for check in sentence.checks)


def sentence_line(sentence: Sentence) -> str:
    """A sentence as it may be shown: withheld, marked, or as it is."""
    if is_withheld(sentence):
        names = ", ".join(c.name for c in sentence.checks if c.status is CheckStatus.FAIL)
        return f"[a sentence is withheld by a failed check: {names}]"
    warnings = [check.evidence for check in sentence.checks if check.status is CheckStatus.WARN]
    return f"{sentence.text} [check: {'; '.join(warnings)}]" if warnings else sentence.text


def report_text(draft: Draft) -> str:
    """The draft as plain text: banner, outcome, findings, sentences, what was not assessed, provenance."""
    lines = [DRAFT_TITLE]
    if draft.model.statement:
        lines.append(draft.model.statement)
    lines += ["", outcome_sentence(draft)]
    for number, reading in enumerate(draft.readings, start=1):
        lines += ["", f"IMAGE {number}{_view(reading)}", *_reading_lines(reading)]
    for outcome in draft.other_images:
        lines += ["", f"Another image was not read ({outcome.state}): {outcome.reason}"]
    model = draft.model
    lines += [
        "",
        f"Draft version {draft.version}, {draft.completed_at_utc:%Y-%m-%d %H:%M:%S} UTC",
        f"RadDraft {draft.product_version}",
        f"Model {model.name} {model.version}, weights {model.weights_sha256[:16]}, {model.engine}",
        f"Prompts {model.prompts_sha256[:16]}, configuration {draft.configuration_sha256[:16]}",
        "Scores are the model's own, uncalibrated, and no probabilities of disease. No earlier image was compared.",
    ]
    return "\n".join(lines) + "\n"


def _view(reading: Reading) -> str:
    return f" ({reading.image.view_position})" if reading.image.view_position else ""


def _reading_lines(reading: Reading) -> list[str]:
    lines = ["FINDINGS:"]
    lines += [sentence_line(sentence) for sentence in reading.sentences] or ["(no text)"]
    lines.append("CALLED PRESENT:")
    for number, finding in enumerate(reading.present, start=1):
        places = "; ".join(
            f"box x {b.box_px.x0:.0f}-{b.box_px.x1:.0f} y {b.box_px.y0:.0f}-{b.box_px.y1:.0f}"
            for b in finding.boxes
        )
        lines.append(f"[{number}] {finding_line(finding)}{f', {places}' if places else ', no box'}")
    if not reading.present:
        lines.append("none")
    unsure = [f.label.name for f in reading.findings if f.presence.value == "indeterminate"]
    if unsure:
        lines.append(f"INDETERMINATE: {', '.join(unsure)}")
    lines += [f"NOT ASSESSED: {entry.subject} ({entry.reason})" for entry in reading.not_assessed]
    lines += [f"CHECK {c.status.value}: {c.evidence}" for c in reading.checks if c.status in _CONCERNS]
    return lines


_CONCERNS = (CheckStatus.WARN, CheckStatus.FAIL)
