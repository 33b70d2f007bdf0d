"""Self-consistency: whether reports drawn at random say what the draft says (arXiv 2412.04606)."""

from __future__ import annotations

from collections.abc import Sequence

from clinical import CheckResult, CheckStatus
from inference.answers import ReadSentence
from inference.checks.sides import single_sides

_NAME, _VERSION = "said-again", "1"


def repetition_check(
    sentence: ReadSentence, draws: Sequence[Sequence[ReadSentence]], lowest_agreement: float
) -> CheckResult:
    """Share of the drawn reports that say of each label of a sentence what the sentence says.

    A drawn report supports an assertion if one of its sentences asserts the label on no other side, and a denial if
    none asserts it on a side that is denied.
    """
    if not draws or not sentence.labels:
        reason = "no reports were drawn" if not draws else "the sentence names no label"
        return CheckResult(_NAME, _VERSION, CheckStatus.NOT_RUN, reason)
    shares = {
        label: sum(_supports(draw, label, said, sentence) for draw in draws) / len(draws)
        for label, said in sentence.labels
    }
    weakest = min(shares, key=lambda label: shares[label])
    status = CheckStatus.PASS if shares[weakest] >= lowest_agreement else CheckStatus.WARN
    evidence = f"{shares[weakest] * len(draws):.0f} of {len(draws)} drawn reports say the same of {weakest}"
    return CheckResult(_NAME, _VERSION, status, evidence, round(shares[weakest], 3))


def _supports(draw: Sequence[ReadSentence], label: str, said: bool, mine: ReadSentence) -> bool:
    sides = single_sides([mine.laterality])
    asserted = [single_sides([other.laterality]) for other in draw if (label, True) in other.labels]
    meets = any(not sides or not others or sides & others for others in asserted)
    return meets if said else not meets
