"""Reading: what the model said about one image. Draft: one version of one study's result."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache

from pydantic import TypeAdapter

from clinical.checks import CheckResult, CheckStatus
from clinical.critical import CriticalFinding
from clinical.finding import Finding, Sentence
from clinical.model_identity import ModelIdentity
from clinical.prior import PriorSearch
from clinical.study import ImageRef
from clinical.terms import FindingLabel, Laterality, Presence


@dataclass(frozen=True, slots=True)
class Exchange:
    """One question and the model's answer, kept so that the reading can be followed and repeated.

    Attributes
    ----------
    task
        ``"report"``, ``"classification"``, ``"abnormality-grounding"``, ``"phrase-grounding"`` ...
    malformed
        Whether the answer did not have the form the task asks for.
    confidence
        Geometric mean of the answer tokens' probabilities, 0 to 1.
    """

    task: str
    question: str
    answer: str
    malformed: bool = False
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class NotAssessed:
    """A label, task or image that was not assessed, and why, in words an administrator understands."""

    subject: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What the model said about one frontal image.

    Attributes
    ----------
    findings
        One per label and box for what was called present, one per label otherwise; every label asked about.
    sentences
        The draft report, in order.
    not_assessed
        Labels and tasks this model package does not answer.
    checks
        Checks on the reading as a whole.
    stage_s
        Seconds spent by stage: ``(("decode", 0.2), ("vision", 0.1), ...)``.
    critical
        What the critical-finding channel raised.
    """

    image: ImageRef
    findings: tuple[Finding, ...]
    sentences: tuple[Sentence, ...]
    exchanges: tuple[Exchange, ...]
    model: ModelIdentity
    not_assessed: tuple[NotAssessed, ...] = ()
    checks: tuple[CheckResult, ...] = ()
    stage_s: tuple[tuple[str, float], ...] = ()
    critical: tuple[CriticalFinding, ...] = ()

    @property
    def present(self) -> tuple[Finding, ...]:
        """Findings called present."""
        return tuple(finding for finding in self.findings if finding.presence is Presence.PRESENT)

    @property
    def report_text(self) -> str:
        """The draft report as the model wrote it, without the sentences a failed check withholds."""
        shown = [s.text for s in self.sentences if all(c.status is not CheckStatus.FAIL for c in s.checks)]
        return " ".join(shown)


def is_critical(draft: Draft, finding: Finding) -> bool:
    """Whether a finding is present and the critical-finding channel raised its label."""
    raised = {entry.name for entry in draft.critical}
    return finding.presence is Presence.PRESENT and finding.label.name in raised


class DraftOutcome(StrEnum):
    """The results that must never be mistaken for each other."""

    FINDINGS = "findings"
    NO_FINDINGS = "no-findings"
    NOT_ASSESSED = "not-assessed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ImageOutcome:
    """Why an image of the study has no Reading."""

    image: ImageRef
    state: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class StudyFinding:
    """A label over the whole study: present in any Reading means present."""

    label: FindingLabel
    presence: Presence
    laterality: Laterality
    finding_uids: tuple[str, ...]
    checks: tuple[CheckResult, ...] = ()


@dataclass(frozen=True, slots=True)
class Draft:
    """One version of one study's result, with everything needed to tell and repeat it.

    Attributes
    ----------
    version
        1 for the first; a late image or a changed header makes the next.
    header_digest
        Digest of the source headers the faces copy from.
    configuration_sha256
        Digest of the configuration and site profile in force.
    reasons
        Why nothing was assessed, or what failed; empty otherwise.
    started_at_utc, completed_at_utc
        Timezone-aware. Faces take every time from here, so a rebuilt face is the same face.
    critical
        What the critical-finding channel raised on any image, those whose Reading a check withholds included.
    prior
        What an archive names of earlier chest radiographs; None where none was asked.
    """

    study_instance_uid: str
    version: int
    outcome: DraftOutcome
    readings: tuple[Reading, ...]
    other_images: tuple[ImageOutcome, ...]
    study_findings: tuple[StudyFinding, ...]
    model: ModelIdentity
    header_digest: str
    configuration_sha256: str
    product_version: str
    started_at_utc: datetime
    completed_at_utc: datetime
    reasons: tuple[NotAssessed, ...] = ()
    checks: tuple[CheckResult, ...] = ()
    critical: tuple[CriticalFinding, ...] = ()
    prior: PriorSearch | None = None

    def __post_init__(self) -> None:
        if self.version < 1:
            raise ValueError("Draft versions count from 1")
        if self.started_at_utc.tzinfo is None or self.completed_at_utc.tzinfo is None:
            raise ValueError("a Draft's times are timezone-aware")

    @property
    def image_uids(self) -> tuple[str, ...]:
        """SOP Instance UIDs of every image of the study this version knows."""
        return tuple(r.image.sop_instance_uid for r in self.readings) + tuple(
            o.image.sop_instance_uid for o in self.other_images
        )


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[Draft]:
    return TypeAdapter(Draft)


def draft_to_json(draft: Draft) -> str:
    """Draft as JSON that `draft_from_json` reads back unchanged."""
    return _adapter().dump_json(draft).decode("utf-8")


def draft_from_json(text: str) -> Draft:
    """Draft saved by `draft_to_json`.

    Raises
    ------
    pydantic.ValidationError
        If the text is not a saved Draft.
    """
    return _adapter().validate_json(text)


def merge_study_findings(readings: tuple[Reading, ...]) -> tuple[StudyFinding, ...]:
    """Study findings by rule: present in any Reading is present; disagreement is a warning, never merged silently."""
    labels: dict[str, FindingLabel] = {f.label.name: f.label for r in readings for f in r.findings}
    return tuple(_merge_label(label, readings) for label in labels.values())


def _merge_label(label: FindingLabel, readings: tuple[Reading, ...]) -> StudyFinding:
    per_reading = [[f for f in r.findings if f.label == label] for r in readings]
    found = [f for group in per_reading for f in group]
    present = [f for f in found if f.presence is Presence.PRESENT]
    verdicts = {any(f.presence is Presence.PRESENT for f in group) for group in per_reading if group}
    if present:
        presence = Presence.PRESENT
    elif any(f.presence is Presence.INDETERMINATE for f in found):
        presence = Presence.INDETERMINATE
    else:
        presence = Presence.ABSENT
    status = CheckStatus.WARN if len(verdicts) > 1 else CheckStatus.PASS
    evidence = (
        f"{label.name}: present on {sum(any(f.presence is Presence.PRESENT for f in g) for g in per_reading)} "
        f"of {len([g for g in per_reading if g])} images"
    )
    check = CheckResult("images-agree", "1", status, evidence)
    return StudyFinding(label, presence, _common_side(present), tuple(f.uid for f in found), (check,))


def _common_side(findings: list[Finding]) -> Laterality:
    sides = {f.laterality for f in findings} - {Laterality.UNSPECIFIED}
    if len(sides) == 1:
        return sides.pop()
    return Laterality.BILATERAL if sides else Laterality.UNSPECIFIED
