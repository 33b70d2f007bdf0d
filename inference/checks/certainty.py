"""How sure the model was: of a label against its operating point, of a sentence by its words."""

from __future__ import annotations

from clinical import CheckResult, CheckStatus


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


def sentence_confidence_check(least_sure: float | None, floor: float) -> CheckResult:
    """A sentence is marked where the model was unsure of one of its words.

    Token probabilities follow the quality of a report at best loosely (correlation 0.4 to 0.6 in published
    comparisons), so a low one is a reason to look and a high one is no reason not to.

    Parameters
    ----------
    least_sure
        Probability of the sentence's least probable token, 0 to 1; None where the backend gives none.
    floor
        Marked below this.
    """
    name, version = "sentence-confidence", "1"
    if least_sure is None:
        return CheckResult(name, version, CheckStatus.NOT_RUN, "no token probabilities")
    unsure = least_sure < floor
    evidence = f"least sure word {least_sure:.2f}, marked below {floor:.2f}"
    status = CheckStatus.WARN if unsure else CheckStatus.PASS
    return CheckResult(name, version, status, evidence, round(least_sure, 4))
