"""Results of safety checks: what was looked at, what came out, on what evidence."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class CheckStatus(StrEnum):
    """Outcome of a check; ``fail`` withholds, ``warn`` is shown beside what it concerns."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"
    NOT_RUN = "not-run"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check's outcome.

    Attributes
    ----------
    name
        Kebab-case name, e.g. ``"laterality-text-vs-box"``.
    version
        Version of the rule, so that stored results can be told apart after a change.
    status
        Outcome.
    evidence
        One line that lets a reader follow the outcome; may quote labels, sides and numbers.
    score
        The number compared with a threshold, where there is one.
    """

    name: str
    version: str
    status: CheckStatus
    evidence: str
    score: float | None = None
