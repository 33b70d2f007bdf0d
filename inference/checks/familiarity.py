"""Whether an image is one the model knows, and of the view it reads: by the vision features it has made anyway."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clinical import CheckResult, CheckStatus
from inference.familiarity import LoadedFamiliarity

# Log odds from which a picture is called lateral: 19 to 1, since a refusal keeps a true frontal image from its reader.
_LATERAL_LOG_ODDS = 3.0
# A linear head says something of every picture; what lies outside of what it was fitted on it knows nothing of.
_FARTHEST_JUDGED = 1.2


def familiarity_check(
    features: NDArray[np.floating] | None, known: LoadedFamiliarity | None, farthest: float | None
) -> CheckResult:
    """Whether an image lies among those the model was made for.

    Parameters
    ----------
    features
        Pooled vision features (width,); None where the model is served elsewhere and does not tell them.
    farthest
        Distance from which the result is withheld, 1 being the one within which 99 of 100 known images lie.
    """
    name, version = "familiarity", "1"
    if features is None:
        return CheckResult(name, version, CheckStatus.NOT_RUN, "the model's server tells no vision features")
    if known is None:
        return CheckResult(name, version, CheckStatus.NOT_RUN, "the model package does not say what it knows")
    distance = round(known.distance(features), 3)
    images = f"{known.familiarity.images} images ({known.familiarity_id})"
    if distance <= 1:
        evidence = f"among those the model knows: {images}"
        return CheckResult(name, version, CheckStatus.PASS, evidence, distance)
    failed = farthest is not None and distance >= farthest
    evidence = f"unlike those the model knows: {distance:.2f} times as far as 99 of 100 of {images}"
    return CheckResult(name, version, CheckStatus.FAIL if failed else CheckStatus.WARN, evidence, distance)


def view_check(features: NDArray[np.floating] | None, known: LoadedFamiliarity | None) -> CheckResult:
    """Whether the picture is a frontal view, whatever the header says or leaves out."""
    name, version = "view-by-pixels", "1"
    log_odds = None if features is None or known is None else known.lateral_log_odds(features)
    if features is None or known is None or log_odds is None:
        missing = "the model package was fitted on no lateral views"
        return CheckResult(name, version, CheckStatus.NOT_RUN, missing)
    nearest = min(known.distance(features), known.lateral_distance(features) or 0.0)
    if nearest > _FARTHEST_JUDGED:
        unlike = (
            f"unlike the frontal and the lateral images it was fitted on ({nearest:.2f} times their limit)"
        )
        return CheckResult(name, version, CheckStatus.NOT_RUN, unlike)
    score = round(float(1 / (1 + np.exp(-np.clip(log_odds, -50, 50)))), 4)
    if log_odds >= _LATERAL_LOG_ODDS:
        evidence = "the picture looks like a lateral view; only frontal views are read"
        return CheckResult(name, version, CheckStatus.FAIL, evidence, score)
    if log_odds > 0:
        return CheckResult(name, version, CheckStatus.WARN, "the picture may be a lateral view", score)
    return CheckResult(name, version, CheckStatus.PASS, "the picture looks like a frontal view", score)
