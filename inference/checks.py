"""Safety checks on a reading. None edits a sentence; `fail` withholds it, `warn` is shown beside it."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from clinical import CheckResult, CheckStatus, Laterality
from inference.answers import ReadSentence

_BOTH = frozenset({Laterality.LEFT, Laterality.RIGHT})
_PRIOR = re.compile(
    r"\b(unchanged|stable|interval|new|increased|decreased|again|redemonstrated|persistent|improved|improving|"
    r"worsen(ed|ing)|prior|previous(ly)?|compared|comparison|since|resolved)\b",
    re.IGNORECASE,
)
_MEASUREMENT = re.compile(r"\d+([.,]\d+)?\s*(x\s*\d+([.,]\d+)?\s*)?(mm|cm|millimet|centimet)", re.IGNORECASE)


def comparison_check(text: str) -> CheckResult:
    """This model sees one image: words that compare with an earlier one are made up (MAIRA-2, table D.9)."""
    words = sorted({match.group().lower() for match in _PRIOR.finditer(text)})
    status = CheckStatus.WARN if words else CheckStatus.PASS
    evidence = (
        f"compares with an image the model has not seen: {', '.join(words)}" if words else "no comparison"
    )
    return CheckResult("comparison-without-prior", "1", status, evidence)


def measurement_check(text: str) -> CheckResult:
    """This model has no scale: a number with a unit of length is made up (FactCheXcker, arXiv 2411.18672)."""
    match = _MEASUREMENT.search(text)
    status = CheckStatus.FAIL if match else CheckStatus.PASS
    evidence = f"states a length without a scale: {match.group()}" if match else "no measurement"
    return CheckResult("measurement-without-scale", "1", status, evidence)


def classification_check(sentence: ReadSentence, named: Sequence[str]) -> CheckResult:
    """Report and classification answer must not say opposite things of a label.

    The answer names no side: a sentence that denies one side only does not contradict it.
    """
    everywhere = _denied_sides(sentence.laterality) == _BOTH
    denied = [label for label, said in sentence.labels if not said and everywhere and label in named]
    unnamed = [label for label, asserted in sentence.labels if asserted and label not in named]
    if denied:
        evidence = f"denies what the classification answer names: {', '.join(denied)}"
        return CheckResult("report-vs-classification", "2", CheckStatus.FAIL, evidence)
    if unnamed:
        evidence = f"asserts what the classification answer does not name: {', '.join(unnamed)}"
        return CheckResult("report-vs-classification", "2", CheckStatus.WARN, evidence)
    return CheckResult(
        "report-vs-classification", "2", CheckStatus.PASS, "agrees with the classification answer"
    )


def contradiction_check(index: int, sentences: Sequence[ReadSentence]) -> CheckResult:
    """One draft must not assert and deny the same label of the same side."""
    mine = sentences[index]
    others = [other for n, other in enumerate(sentences) if n != index]
    clash = sorted({label for other in others for label in _contradicted(mine, other)})
    status = CheckStatus.FAIL if clash else CheckStatus.PASS
    evidence = (
        f"another sentence says the opposite of: {', '.join(clash)}" if clash else "no opposite sentence"
    )
    return CheckResult("report-contradiction", "2", status, evidence)


def _contradicted(one: ReadSentence, other: ReadSentence) -> list[str]:
    """Labels one sentence asserts of a side the other denies, whichever comes first."""
    theirs = dict(other.labels)
    found = []
    for label, said in one.labels:
        if theirs.get(label, said) is said:
            continue
        asserting, denying = (one, other) if said else (other, one)
        denied = _denied_sides(denying.laterality)
        asserted = _single_sides([asserting.laterality])
        # A side that is not stated may be either: only a denial of both contradicts it.
        if asserted & denied or (not asserted and denied == _BOTH):
            found.append(label)
    return found


def _denied_sides(stated: Laterality) -> frozenset[Laterality]:
    """Sides a denial speaks of: "no effusion" denies both."""
    return _single_sides([stated]) or _BOTH


def omission_check(named: Sequence[str], sentences: Sequence[ReadSentence]) -> CheckResult:
    """Every label the classification answer names should be asserted by a sentence."""
    asserted = {label for sentence in sentences for label, said in sentence.labels if said}
    missing = [label for label in named if label not in asserted]
    status = CheckStatus.WARN if missing else CheckStatus.PASS
    evidence = f"possibly omitted from the report: {', '.join(missing)}" if missing else "nothing omitted"
    return CheckResult("report-omission", "1", status, evidence)


def laterality_check(stated: Collection[Laterality], seen: Collection[Laterality]) -> CheckResult:
    """The sides a text states and the sides its boxes lie on must agree.

    Parameters
    ----------
    stated
        Sides of the sentences that assert the finding.
    seen
        Sides its boxes lie on; boxes across the midline have none.
    """
    said, boxed = _single_sides(stated), _single_sides(seen)
    words = f"the text says {_listed(said)}, the box lies {_listed(boxed)}"
    if not said or not boxed:
        status, words = CheckStatus.NOT_RUN, "no side in text or box"
    elif not said & boxed:
        status = CheckStatus.FAIL
    elif said != boxed:
        status = CheckStatus.WARN
    else:
        status, words = CheckStatus.PASS, f"text and box say {_listed(said)}"
    return CheckResult("laterality-text-vs-box", "1", status, words)


def _single_sides(sides: Collection[Laterality]) -> frozenset[Laterality]:
    return _BOTH if Laterality.BILATERAL in sides else _BOTH & frozenset(sides)


def _listed(sides: Collection[Laterality]) -> str:
    return " and ".join(sorted(side.value for side in sides))


def score_check(raw: float, operating_point: float | None, named: bool) -> CheckResult:
    """The classification answer and the label's score must agree about the operating point."""
    if operating_point is None:
        return CheckResult(
            "answer-vs-score", "1", CheckStatus.NOT_RUN, "the package has no operating point", raw
        )
    agree = named == (raw >= operating_point)
    verb = "names" if named else "does not name"
    evidence = f"the answer {verb} it; score {raw:.3f}, operating point {operating_point:.3f}"
    return CheckResult("answer-vs-score", "1", CheckStatus.PASS if agree else CheckStatus.WARN, evidence, raw)
