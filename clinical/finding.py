"""A finding, the sentences it supports and the scores it carries."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from clinical.checks import CheckResult
from clinical.geometry import Box
from clinical.terms import FindingLabel, Laterality, Presence, Region


@dataclass(frozen=True, slots=True)
class Score:
    """How strongly the model leans to "present", and from where on it was called so.

    Attributes
    ----------
    raw
        Uncalibrated score, 0 to 1. Not a probability of disease.
    operating_point
        Raw score from which the label counts as present; None where the package has none.
    calibrated
        Calibrated score, 0 to 1; None where no calibration applies.
    calibration_id
        Which calibration `calibrated` came from; empty where none did.
    """

    raw: float
    operating_point: float | None = None
    calibrated: float | None = None
    calibration_id: str = ""

    def __post_init__(self) -> None:
        for value in (self.raw, self.operating_point, self.calibrated):
            if value is not None and not 0.0 <= value <= 1.0:
                raise ValueError("a score lies between 0 and 1")


@dataclass(frozen=True, slots=True)
class GroundedBox:
    """A box in pixels of the stored image, with the model's confidence in its coordinates (0 to 1, raw)."""

    box_px: Box
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One label on one image: present, absent or indeterminate.

    Attributes
    ----------
    uid
        Tracking UID (see `clinical.identity.finding_uid`); shared by every face and every Draft version.
    label
        Coded label.
    presence
        What the model called it.
    laterality
        Side of the patient.
    site
        Anatomical site; None where the text names none.
    score
        The label's score; None where it was not scored.
    boxes
        Where it is. Empty for absent findings, always: a box is never shown for a finding not called present.
    sentences
        Indices into the Reading's `sentences` that speak of it.
    checks
        Results of the checks that looked at it.
    """

    uid: str
    label: FindingLabel
    presence: Presence
    laterality: Laterality = Laterality.UNSPECIFIED
    site: Region | None = None
    score: Score | None = None
    boxes: tuple[GroundedBox, ...] = ()
    sentences: tuple[int, ...] = ()
    checks: tuple[CheckResult, ...] = ()

    def __post_init__(self) -> None:
        if self.boxes and self.presence is not Presence.PRESENT:
            raise ValueError("only a finding that was called present may carry a box")

    @property
    def description(self) -> str:
        """Label and side in words, e.g. ``"Pleural Effusion, right"``."""
        side = "" if self.laterality is Laterality.UNSPECIFIED else f", {self.laterality.value}"
        return f"{self.label.name}{side}"


class Polarity(StrEnum):
    """Whether a sentence asserts a finding, denies one, or does neither."""

    POSITIVE = "positive"
    NEGATIVE = "negative"
    NEUTRAL = "neutral"


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence of the draft, word for word as the model wrote it.

    Attributes
    ----------
    polarity
        What it does, by the rule labeller.
    finding_uids
        Tracking UIDs of the findings it speaks of.
    boxes
        Region the model gave for this sentence (phrase grounding); empty for negative sentences.
    confidence
        Geometric mean of its tokens' probabilities, 0 to 1.
    checks
        Results of the checks that looked at it. A failed check withholds the sentence from faces.
    """

    text: str
    polarity: Polarity = Polarity.NEUTRAL
    finding_uids: tuple[str, ...] = ()
    boxes: tuple[GroundedBox, ...] = ()
    confidence: float | None = None
    checks: tuple[CheckResult, ...] = ()
