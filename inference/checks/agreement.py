"""What one draft says twice: report, classification answer and sentences must not contradict each other."""

from __future__ import annotations

from collections.abc import Sequence

from clinical import CheckResult, CheckStatus, Laterality
from inference.answers import ReadSentence
from inference.checks.sides import BOTH, single_sides


def classification_check(sentence: ReadSentence, named: Sequence[str]) -> CheckResult:
    """Report and classification answer must not say opposite things of a label.

    The answer names no side: a sentence that denies one side only does not contradict it.
    """
    everywhere = _denied_sides(sentence.laterality) == BOTH
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
        asserted = single_sides([asserting.laterality])
        # A side that is not stated may be either: only a denial of both contradicts it.
        if asserted & denied or (not asserted and denied == BOTH):
            found.append(label)
    return found


def _denied_sides(stated: Laterality) -> frozenset[Laterality]:
    """Sides a denial speaks of: "no effusion" denies both."""
    return single_sides([stated]) or BOTH


def omission_check(named: Sequence[str], sentences: Sequence[ReadSentence]) -> CheckResult:
    """Every label the classification answer names should be asserted by a sentence."""
    asserted = {label for sentence in sentences for label, said in sentence.labels if said}
    missing = [label for label in named if label not in asserted]
    status = CheckStatus.WARN if missing else CheckStatus.PASS
    evidence = f"possibly omitted from the report: {', '.join(missing)}" if missing else "nothing omitted"
    return CheckResult("report-omission", "1", status, evidence)
