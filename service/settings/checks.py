"""The safety checks and the watch over what the model is given."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from clinical import DEFAULT_CRITICAL_SCORES
from service.settings.basics import Section


class ChecksSection(Section):
    """The safety checks: what a failed one withholds, and which ones cost more questions."""

    on_failed: Literal["sentence", "draft"] = Field(
        "sentence",
        description="what a failed check of a sentence or finding withholds: that sentence, or the draft",
    )
    low_confidence: float = Field(
        0.5, ge=0, le=1, description="a sentence is marked when a word of it is less probable than this"
    )
    ask_regions: bool = Field(
        True, description="ask for lungs and heart where something was found, and compare boxes with them"
    )
    repeats: int = Field(
        0,
        ge=0,
        le=20,
        description="reports drawn at random beside the draft, to see whether it is said again",
    )
    lowest_agreement: float = Field(0.6, ge=0, le=1, description="share of those that must say the same")
    mirror_test: bool = Field(
        False, description="ask about the mirrored picture too: lungs must follow; costs a second image"
    )
    farthest: float | None = Field(
        None,
        gt=1,
        description="withhold what lies this many times as far from the images the model knows as 99 of 100 of them",
    )
    canary_every_s: float = Field(
        86400.0, ge=60, description="age from which the model's trial on blank and known images is repeated"
    )
    canary_images: Path | None = Field(
        None, description="labels of known images, as for `model calibrate`; default: the model package's own"
    )
    canary_lowest: float = Field(
        0.8, ge=0.5, le=1, description="balanced accuracy on them below which every result is withheld"
    )
    critical: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        default_factory=lambda: dict(DEFAULT_CRITICAL_SCORES),
        description="labels that raise a study's priority, with the score that does (Pneumothorax from 0.05)",
    )


class DriftSection(Section):
    """Whether images of each device, and what is read of them, stay what they were."""

    baseline_images: int = Field(
        200, ge=50, le=10_000, description="first images of a device, for comparison"
    )
    recent_images: int = Field(100, ge=30, le=1000, description="newest ones that are compared with them")
    look_every_s: float = Field(3600.0, gt=0, description="how often every device is judged")
