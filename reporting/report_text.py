"""The Draft as plain text."""

from __future__ import annotations

from clinical import Draft, Finding, Reading, prior_sentence
from reporting.numbering import numbered_findings
from reporting.site_profile import DEFAULT_PROFILE, SiteProfile
from reporting.wording import (
    NO_FINDING,
    SCORES_NOTE,
    box_words,
    check_words,
    concerns,
    critical_lines,
    finding_line,
    indication_lines,
    marked_sentence,
    negative_lines,
    outcome_sentence,
)


def report_text(draft: Draft, profile: SiteProfile = DEFAULT_PROFILE, *, indication: str = "") -> str:
    """The draft as plain text: title, outcome, sentences, findings, what was not assessed, provenance.

    Each sentence ends with what stands behind it: numbers of findings, which are those on the pictures, or scores.
    `indication` is why the images were ordered, one line in the order's words.
    """
    lines = [profile.draft_title]
    if draft.model.statement:
        lines.append(draft.model.statement)
    lines += ["", *critical_lines(draft), outcome_sentence(draft), *indication_lines(indication)]
    for number, reading in enumerate(draft.readings, start=1):
        view = f" ({reading.image.view_position})" if reading.image.view_position else ""
        lines += ["", f"IMAGE {number}{view}", *reading_lines(reading)]
    for outcome in draft.other_images if draft.readings else ():
        lines += ["", f"Another image was not read ({outcome.state}): {outcome.reason}"]
    lines += [check_words(check) for entry in draft.study_findings for check in concerns(entry.checks)]
    lines += [check_words(check) for check in concerns(draft.checks)]
    return "\n".join([*lines, "", *provenance_lines(draft)]) + "\n"


def provenance_lines(draft: Draft) -> list[str]:
    """Version, time, product, model, prompts and configuration of a Draft, and what its scores are."""
    model = draft.model
    return [
        f"Draft version {draft.version}, {draft.completed_at_utc:%Y-%m-%d %H:%M:%S} UTC, "
        f"RadDraft {draft.product_version}",
        f"Model {model.name} {model.version}, weights {model.weights_sha256[:16]}, {model.engine}",
        f"Prompts {model.prompts_sha256[:16]}, configuration {draft.configuration_sha256[:16]}",
        f"{SCORES_NOTE} {prior_sentence(draft.prior)}",
    ]


def reading_lines(reading: Reading) -> list[str]:
    """What is said of one image: sentences, findings, what was called absent or not assessed, checks."""
    lines = ["Draft text:"]
    lines += [f"- {marked_sentence(sentence, reading)}" for sentence in reading.sentences] or ["(none)"]
    lines.append("Findings:")
    lines += [_finding(entry.number, entry.finding) for entry in numbered_findings(reading)] or [NO_FINDING]
    lines += negative_lines(reading)
    lines += [f"Not assessed: {entry.subject} ({entry.reason})" for entry in reading.not_assessed]
    lines += [check_words(check) for check in concerns(reading.checks)]
    return lines


def _finding(number: int, finding: Finding) -> str:
    places = "; ".join(box_words(box.box_px) for box in finding.boxes)
    warned = "".join(f" [{check_words(check)}]" for check in concerns(finding.checks))
    return f"[{number}] {finding_line(finding)}, {places or 'no box'}{warned}"
