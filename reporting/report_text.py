"""The Draft as plain text."""

from __future__ import annotations

from clinical import Draft, Finding, Polarity, Presence, Reading, Sentence
from reporting.numbering import numbered_findings
from reporting.wording import (
    DRAFT_TITLE,
    NO_FINDING,
    SCORES_NOTE,
    check_words,
    concerns,
    finding_line,
    is_withheld,
    outcome_sentence,
    sentence_line,
)


def report_text(draft: Draft) -> str:
    """The draft as plain text: banner, outcome, sentences, findings, what was not assessed, provenance.

    Each sentence that supports findings ends with their numbers, which are those on the pictures.
    """
    lines = [DRAFT_TITLE]
    if draft.model.statement:
        lines.append(draft.model.statement)
    lines += ["", outcome_sentence(draft)]
    for number, reading in enumerate(draft.readings, start=1):
        view = f" ({reading.image.view_position})" if reading.image.view_position else ""
        lines += ["", f"IMAGE {number}{view}", *_reading_lines(reading)]
    for outcome in draft.other_images if draft.readings else ():
        lines += ["", f"Another image was not read ({outcome.state}): {outcome.reason}"]
    lines += [check_words(check) for entry in draft.study_findings for check in concerns(entry.checks)]
    lines += [check_words(check) for check in concerns(draft.checks)]
    return "\n".join([*lines, "", *_provenance(draft)]) + "\n"


def _provenance(draft: Draft) -> list[str]:
    model = draft.model
    return [
        f"Draft version {draft.version}, {draft.completed_at_utc:%Y-%m-%d %H:%M:%S} UTC, "
        f"RadDraft {draft.product_version}",
        f"Model {model.name} {model.version}, weights {model.weights_sha256[:16]}, {model.engine}",
        f"Prompts {model.prompts_sha256[:16]}, configuration {draft.configuration_sha256[:16]}",
        f"{SCORES_NOTE} No earlier image was compared.",
    ]


def _reading_lines(reading: Reading) -> list[str]:
    numbers = {entry.finding.uid: entry.number for entry in numbered_findings(reading)}
    lines = ["Draft text:"]
    lines += [_sentence(sentence, numbers) for sentence in reading.sentences] or ["(none)"]
    lines.append("Findings:")
    lines += [_finding(entry.number, entry.finding) for entry in numbered_findings(reading)] or [NO_FINDING]
    for title, presence in (("Indeterminate", Presence.INDETERMINATE), ("Called absent", Presence.ABSENT)):
        labels = dict.fromkeys(f.label.name for f in reading.findings if f.presence is presence)
        if labels:
            lines.append(f"{title}: {', '.join(labels)}")
    lines += [f"Not assessed: {entry.subject} ({entry.reason})" for entry in reading.not_assessed]
    lines += [check_words(check) for check in concerns(reading.checks)]
    return lines


def _sentence(sentence: Sentence, numbers: dict[str, int]) -> str:
    known = sorted({numbers[uid] for uid in sentence.finding_uids if uid in numbers})
    links = "".join(f" [{number}]" for number in known)
    without = sentence.polarity is Polarity.POSITIVE and not known and not sentence.boxes
    mark = " [no finding or box supports this sentence]" if without and not is_withheld(sentence) else ""
    return f"- {sentence_line(sentence)}{links}{mark}"


def _finding(number: int, finding: Finding) -> str:
    places = "; ".join(
        f"box x {b.box_px.x0:.0f}-{b.box_px.x1:.0f} y {b.box_px.y0:.0f}-{b.box_px.y1:.0f}"
        for b in finding.boxes
    )
    warned = "".join(f" [{check_words(check)}]" for check in concerns(finding.checks))
    return f"[{number}] {finding_line(finding)}, {places or 'no box'}{warned}"
