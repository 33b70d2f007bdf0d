"""What a site decides about the checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from clinical import DEFAULT_CRITICAL_SCORES


@dataclass(frozen=True, slots=True)
class CheckTerms:
    """Which checks ask the model more than the report needs, and their thresholds.

    Attributes
    ----------
    low_confidence
        Probability of a sentence's least sure word under which it is marked.
    ask_regions
        Ask for the lungs and the heart where something was called present, and compare boxes with them.
    repeats
        Reports drawn at random beside the draft; a sentence they do not support is marked. 0 draws none.
    repeat_temperature, lowest_agreement
        Of those draws, and the share of them that must say what a sentence says.
    mirror_test
        Ask for both lungs on the mirrored picture too: the model must follow the picture.
    farthest
        Distance from the images the model knows from which a result is withheld; None only marks those it does not.
    critical
        Labels of the critical-finding channel, each with the score from which it is raised.
    """

    low_confidence: float = 0.5
    ask_regions: bool = True
    repeats: int = 0
    repeat_temperature: float = 0.7
    lowest_agreement: float = 0.6
    mirror_test: bool = False
    farthest: float | None = None
    critical: Mapping[str, float] = field(default_factory=lambda: DEFAULT_CRITICAL_SCORES)
