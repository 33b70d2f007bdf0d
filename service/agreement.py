"""What a signed report says of the labels a Draft was asked about, as figures: nothing of its text is kept."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum

from clinical import Draft, Presence
from inference.answers import read_sentences


class Verdict(StrEnum):
    """How Draft and signed report stand to each other on one label."""

    BOTH_PRESENT = "both-present"
    BOTH_ABSENT = "both-absent"
    # The report is silent on what the Draft called absent: agreement, as reports seldom list what is not there.
    ABSENT_UNMENTIONED = "absent-unmentioned"
    CONTRADICTED = "contradicted"
    DRAFT_ONLY = "draft-only"
    REPORT_ONLY = "report-only"
    INDETERMINATE = "indeterminate"


_VERDICTS: Mapping[tuple[Presence, bool | None], Verdict] = {
    (Presence.PRESENT, True): Verdict.BOTH_PRESENT,
    (Presence.PRESENT, False): Verdict.CONTRADICTED,
    (Presence.PRESENT, None): Verdict.DRAFT_ONLY,
    (Presence.ABSENT, True): Verdict.REPORT_ONLY,
    (Presence.ABSENT, False): Verdict.BOTH_ABSENT,
    (Presence.ABSENT, None): Verdict.ABSENT_UNMENTIONED,
}
_HEADING = re.compile(
    r"^\s*(findings?|impressions?|conclusions?|opinion|interpretation|results?|report"
    r"|clinical (?:history|information|indication)|history|indications?|reason(?: for exam(?:ination)?)?"
    r"|comparisons?|techniques?|procedure|exam(?:ination)?)\s*:?\s*(?:$|(?<=:)\s*)",
    re.IGNORECASE,
)
# Sections that say what was seen; the others say why it was looked, and with what it was compared.
_SEEN = re.compile(
    r"findings?|impressions?|conclusions?|opinion|interpretation|results?|report", re.IGNORECASE
)


def compare(draft: Draft, report_text: str) -> dict[str, Verdict]:
    """Verdict on each label the Draft speaks of; empty where the report names none of them in words that are known.

    Read by the rules that read the Draft's own sentences: English, negation in its clause, no grades of certainty
    ("possible" asserts).
    """
    labels = {found.label.name: found.presence for found in draft.study_findings}
    said = _said(report_text, tuple(labels))
    if not said:
        return {}
    return {
        name: _VERDICTS.get((presence, said.get(name)), Verdict.INDETERMINATE)
        for name, presence in labels.items()
    }


def _said(report_text: str, labels: tuple[str, ...]) -> dict[str, bool]:
    """Labels the report speaks of; one it asserts anywhere is asserted."""
    said: dict[str, bool] = {}
    for sentence in read_sentences(seen_part(report_text), labels):
        for label, asserted in sentence.labels:
            said[label] = said.get(label, False) or asserted
    return said


def seen_part(report_text: str) -> str:
    """What of a report says what was seen, its lines joined to sentences.

    Without headings that is all of it. A line that begins like a sentence is one, so that the negation of a list's line
    does not reach the next.
    """
    kept: list[str] = []
    seen = True
    headed = [(line, _HEADING.match(line)) for line in report_text.splitlines()]
    for line, heading in headed:
        if heading is not None:
            seen = _SEEN.fullmatch(heading.group(1)) is not None
        text = line[heading.end() :].strip() if heading is not None else line.strip()
        if seen and text:
            kept.append(text)
    return re.sub(r"(?<![.!?:;,])\n(?=[^a-z])", ". ", "\n".join(kept)).replace("\n", " ")
