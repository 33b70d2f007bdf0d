"""What a gate says about one image."""

from __future__ import annotations

from dataclasses import dataclass

from clinical import CheckResult, CheckStatus

_VERSION = "1"


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """Whether an image may be read, and why not.

    Attributes
    ----------
    accepted
        Whether the model may see the image.
    code
        Stable machine-readable reason, e.g. ``"lateral-view"``; empty where accepted.
    reason
        One sentence for a PACS administrator; empty where accepted. Holds no patient data.
    checks
        What was looked at, in order; the last one failed where the image was not accepted.
    """

    accepted: bool
    code: str
    reason: str
    checks: tuple[CheckResult, ...]


@dataclass(frozen=True, slots=True)
class Objection:
    """A rule's reason not to read an image."""

    code: str
    reason: str


def passed(name: str, evidence: str, score: float | None = None) -> CheckResult:
    """A gate rule that found nothing to object to."""
    return CheckResult(name, _VERSION, CheckStatus.PASS, evidence, score)


def accept(checks: tuple[CheckResult, ...]) -> GateVerdict:
    """Verdict of a gate whose rules all passed."""
    return GateVerdict(True, "", "", checks)


def refuse(
    name: str, objection: Objection, checks: tuple[CheckResult, ...], score: float | None = None
) -> GateVerdict:
    """Verdict of a gate whose rule `name` objected after `checks` had passed."""
    failed = CheckResult(name, _VERSION, CheckStatus.FAIL, objection.reason, score)
    return GateVerdict(False, objection.code, objection.reason, (*checks, failed))
