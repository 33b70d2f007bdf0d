"""Words this model cannot know: comparisons with an image it has not seen, lengths without a scale."""

from __future__ import annotations

import re

from clinical import CheckResult, CheckStatus

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
