"""From raw label scores to calibrated ones, by parameters that are fitted on labelled images.

Temperature scaling of the log odds with a bias (Platt 1999; Guo et al., arXiv 1706.04599): the raw score of a label is
the probability of its text, which grows with the model's leaning but is no probability of the finding. What comes out
is one only for images like those the parameters were fitted on, with as many findings among them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clinical import Permanent

FEWEST_OF_EACH = 10
_CLIP = 1e-4
_BINS = 10
_FOLDS = 5
_STEPS = 50
# How strongly parameters are held to "no change" (a normal prior of variance 1): a label that its scores separate
# perfectly has no finite best slope, and few images say little.
_RIDGE = 1.0


class LabelCalibration(BaseModel):
    """Parameters of one label: ``p = 1 / (1 + exp(-(logit(raw) / temperature + bias)))``.

    Attributes
    ----------
    ece_before, ece_after
        Expected calibration error of raw and calibrated scores, 0 to 1; the latter cross-fitted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(gt=0)
    bias: float
    images: int
    positives: int
    ece_before: float
    ece_after: float


class Calibration(BaseModel):
    """``calibration.json``: for which weights and questions, fitted on what, and the parameters by label."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights_sha256: str
    prompts_sha256: str
    source: str
    images: int
    labels: dict[str, LabelCalibration]


@dataclass(frozen=True, slots=True)
class LoadedCalibration:
    """A calibration and the digest by which every face names it."""

    calibration: Calibration
    sha256: str

    @property
    def calibration_id(self) -> str:
        """What a Score says it was calibrated by."""
        return f"{self.calibration.source} {self.sha256[:16]}"

    def calibrated(self, label: str, raw: float) -> float | None:
        """Calibrated score, 0 to 1; None for a label without parameters."""
        fitted = self.calibration.labels.get(label)
        if fitted is None:
            return None
        return round(float(_applied(np.array([raw]), fitted.temperature, fitted.bias)[0]), 4)


def open_calibration(path: Path, *, weights_sha256: str, prompts_sha256: str) -> LoadedCalibration:
    """Read a calibration of exactly this model.

    Raises
    ------
    Permanent
        ``calibration-unreadable``, or ``calibration-of-another-model``.
    """
    try:
        content = path.read_bytes()
        calibration = Calibration.model_validate_json(content)
    except (OSError, ValidationError) as error:
        raise Permanent(
            "calibration-unreadable", f"{path} is no calibration of this version", tag="model.calibration"
        ) from error
    if (calibration.weights_sha256, calibration.prompts_sha256) != (weights_sha256, prompts_sha256):
        raise Permanent(
            "calibration-of-another-model",
            f"{path} was fitted on other weights or questions; run `raddraft model calibrate` again",
            tag="model.calibration",
        )
    return LoadedCalibration(calibration, hashlib.sha256(content).hexdigest())


def fit_label(raw: Sequence[float], present: Sequence[bool]) -> LabelCalibration:
    """Parameters of a label from its raw scores, 0 to 1, and whether the finding was there.

    Raises
    ------
    Permanent
        ``too-few-labels`` below `FEWEST_OF_EACH` images with and without the finding.
    """
    scores, there = np.asarray(raw, dtype=np.float64), np.asarray(present, dtype=bool)
    if min(there.sum(), (~there).sum()) < FEWEST_OF_EACH:
        raise Permanent(
            "too-few-labels", f"a label needs {FEWEST_OF_EACH} images with the finding and as many without"
        )
    temperature, bias = _fit(scores, there)
    held_out = np.empty_like(scores)
    # Every fold has its share of both, in the order given.
    fold = np.empty(len(scores), dtype=np.int64)
    for kind in (there, ~there):
        fold[kind] = np.arange(kind.sum()) % _FOLDS
    for number in range(_FOLDS):
        away = fold == number
        held_out[away] = _applied(scores[away], *_fit(scores[~away], there[~away]))
    return LabelCalibration(
        temperature=round(temperature, 4),
        bias=round(bias, 4),
        images=len(scores),
        positives=int(there.sum()),
        ece_before=round(expected_calibration_error(scores, there), 4),
        ece_after=round(expected_calibration_error(held_out, there), 4),
    )


def fit_labels(
    raw: Mapping[str, Sequence[float]], present: Mapping[str, Sequence[bool]]
) -> tuple[dict[str, LabelCalibration], tuple[str, ...]]:
    """Parameters by label, and the labels that have too few images."""
    fitted, left_out = {}, []
    for label, scores in raw.items():
        try:
            fitted[label] = fit_label(scores, present[label])
        except Permanent:
            left_out.append(label)
    return fitted, tuple(left_out)


def expected_calibration_error(scores: NDArray[np.float64], present: NDArray[np.bool_]) -> float:
    """Mean distance of stated and observed frequency over ten bins of equal width, weighted by their images."""
    bins = np.minimum((scores * _BINS).astype(np.int64), _BINS - 1)
    error = 0.0
    for number in range(_BINS):
        inside = bins == number
        if inside.any():
            error += abs(scores[inside].mean() - present[inside].mean()) * inside.mean()
    return float(error)


def _log_odds(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    clipped = np.clip(scores, _CLIP, 1 - _CLIP)
    odds: NDArray[np.float64] = np.log(clipped / (1 - clipped))
    return odds


def _applied(scores: NDArray[np.float64], temperature: float, bias: float) -> NDArray[np.float64]:
    return _chance(_log_odds(scores) / temperature + bias)


def _fit(scores: NDArray[np.float64], there: NDArray[np.bool_]) -> tuple[float, float]:
    """Temperature and bias of least cross-entropy, held towards one and none, by Newton's method."""
    target = there.astype(np.float64)
    design = np.stack([_log_odds(scores), np.ones_like(scores)], axis=1)
    weights, prior = np.array([1.0, 0.0]), np.array([1.0, 0.0])

    def loss(at: NDArray[np.float64]) -> float:
        odds = design @ at
        entropy = np.logaddexp(0.0, odds) - target * odds
        return float(entropy.sum() + _RIDGE / 2 * ((at - prior) ** 2).sum())

    for _ in range(_STEPS):
        chance = _chance(design @ weights)
        gradient = design.T @ (chance - target) + _RIDGE * (weights - prior)
        curvature = (design * (chance * (1 - chance))[:, None]).T @ design + _RIDGE * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        # Newton's step overshoots where scores are extreme: half of it, again and again, until it helps.
        while loss(weights - step) > loss(weights) and np.abs(step).max() > 1e-9:
            step = step / 2
        weights = weights - step
        if np.abs(step).max() < 1e-9:
            break
    slope = max(float(weights[0]), 1e-3)
    return 1 / slope, float(weights[1])


def _chance(odds: NDArray[np.float64]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = 1 / (1 + np.exp(-np.clip(odds, -50, 50)))
    return result
