"""The critical-finding channel: sensitivity first, independent of how the draft is worded.

It only ever raises: a normal report, a withheld sentence or a low confidence takes nothing back. What it says is
"possible, verify"; that it says nothing is no statement that nothing is there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from clinical import CriticalFinding
from inference.answers import ReadSentence, denied

# Findings no label set of this model family has, which its free text may still name.
_PHRASES = {
    "Free air": re.compile(
        r"\b(free (intraperitoneal |abdominal |subdiaphragmatic )?air|pneumoperitoneum)\b", re.I
    ),
    "Tension": re.compile(r"\btension\b", re.I),
    "Tube malposition": re.compile(
        r"\b(malposition(ed|ing)?|(main\s?stem|bronchial|oesophageal|esophageal) intubation)\b", re.I
    ),
    "Widened mediastinum": re.compile(r"\b(widened mediastinum|mediastinal widening)\b", re.I),
}
_VERSION = "1"


def critical_findings(
    named: Sequence[str],
    sentences: Sequence[ReadSentence],
    scores: Mapping[str, float | None],
    critical: Mapping[str, float],
) -> tuple[CriticalFinding, ...]:
    """Every critical label that the answer names, a sentence asserts, or whose score reaches its low threshold.

    Parameters
    ----------
    named
        Labels of the classification answer.
    sentences
        Of the report as the model wrote it, withheld ones included.
    scores
        Raw scores by label.
    critical
        Labels of the channel and the raw score from which each is raised.
    """
    wanted = {label.lower(): threshold for label, threshold in critical.items()}
    labels = dict.fromkeys([*named, *scores, *(label for s in sentences for label, _ in s.labels)])
    found = []
    for label in labels:
        threshold = wanted.get(label.lower())
        if threshold is None:
            continue
        score = scores.get(label)
        sources = []
        if label in named:
            sources.append("classification answer")
        if any((label, True) in sentence.labels for sentence in sentences):
            sources.append("report")
        if score is not None and score >= threshold:
            sources.append(f"score from {threshold:g}")
        if sources:
            found.append(CriticalFinding(label, tuple(sources), score, _VERSION))
    for name, pattern in _PHRASES.items():
        if any(_asserts(sentence.text, pattern) for sentence in sentences):
            found.append(CriticalFinding(name, ("report",), None, _VERSION))
    return tuple(found)


def _asserts(text: str, pattern: re.Pattern[str]) -> bool:
    return any(not denied(text, match.start()) for match in pattern.finditer(text))
