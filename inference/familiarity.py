"""How far an image lies from those a model knows, and which view it looks like, by its pooled vision features.

The mean over the tokens of the whole image (tile 0) is compared with images the model is meant for: a normal
distribution by probabilistic principal components (Tipping and Bishop 1999), whose Mahalanobis distance needs fewer
images than the features have numbers. Distances are stated as a multiple of the one within which 99 of 100 known images
lie, each of them measured by parameters fitted without it. Mahalanobis distance on a network's features as a test for
unknown images: Lee et al., arXiv 1807.03888; for radiographs arXiv 2402.08088.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from clinical import Permanent

FEWEST_IMAGES = 50
FEWEST_LATERALS = 20
_COMPONENTS = 32
_FOLDS = 5
_LIMIT_QUANTILE = 0.99
_DIGITS = 5

Features = NDArray[np.float64]


class Surroundings(BaseModel):
    """Where known images lie: mean and principal directions of their features, and the variance along and beside them.

    Attributes
    ----------
    directions
        Orthonormal rows, as many as `variances`.
    rest_variance
        Of every direction that is not among them.
    limit
        Distance within which 99 of 100 known images lie.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: tuple[float, ...]
    directions: tuple[tuple[float, ...], ...]
    variances: tuple[float, ...]
    rest_variance: float
    limit: float


class ViewHead(BaseModel):
    """Linear head that tells lateral from frontal views: log odds of lateral are ``weights . features + bias``.

    Attributes
    ----------
    lateral
        Where lateral images lie, as `Surroundings` of their own: the head's word counts for what lies in either.
    laterals
        Lateral images it was fitted on.
    missed, mistaken
        Shares of laterals taken for frontal and of frontal ones taken for lateral, each by a head fitted without it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: tuple[float, ...]
    bias: float
    lateral: Surroundings
    laterals: int
    missed: float
    mistaken: float


class Familiarity(BaseModel):
    """``familiarity.json``: for which weights, from how many images, described how."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights_sha256: str
    source: str
    images: int
    known: Surroundings
    view: ViewHead | None = None


@dataclass(frozen=True, slots=True)
class LoadedFamiliarity:
    """Parameters ready to compute with, and the digest by which evidence names them."""

    familiarity: Familiarity
    sha256: str
    _frontal: _Arrays
    _lateral: _Arrays | None

    @property
    def familiarity_id(self) -> str:
        """What evidence names it by."""
        return f"{self.familiarity.source} {self.sha256[:8]}"

    def distance(self, features: NDArray[np.floating]) -> float:
        """Distance of an image (width,) as a multiple of the one within which 99 of 100 known images lie."""
        return self._frontal.distance(features) / self.familiarity.known.limit

    def lateral_distance(self, features: NDArray[np.floating]) -> float | None:
        """The same from the lateral images the view's head was fitted on; None where there is no head."""
        if self._lateral is None or self.familiarity.view is None:
            return None
        return self._lateral.distance(features) / self.familiarity.view.lateral.limit

    def lateral_log_odds(self, features: NDArray[np.floating]) -> float | None:
        """How much an image (width,) looks like a lateral view; None where no head was fitted."""
        view = self.familiarity.view
        if view is None:
            return None
        return float(np.asarray(features, dtype=np.float64) @ np.array(view.weights)) + view.bias


@dataclass(frozen=True, slots=True)
class _Arrays:
    mean: Features
    directions: Features
    variances: Features
    rest_variance: float

    def distances(self, features: Features) -> Features:
        """Mahalanobis distances of images (n, width)."""
        away = features - self.mean
        along = away @ self.directions.T
        beside = np.maximum((away**2).sum(axis=1) - (along**2).sum(axis=1), 0.0)
        distances: Features = np.sqrt((along**2 / self.variances).sum(axis=1) + beside / self.rest_variance)
        return distances

    @classmethod
    def of(cls, stated: Surroundings) -> _Arrays:
        """Parameters of a file."""
        directions = np.array(stated.directions)
        return cls(np.array(stated.mean), directions, np.array(stated.variances), stated.rest_variance)

    def distance(self, features: NDArray[np.floating]) -> float:
        """Mahalanobis distance of one image (width,)."""
        return float(self.distances(np.asarray(features, dtype=np.float64)[None])[0])

    def whitened(self, features: Features) -> Features:
        """Vectors (n, width) times the inverse of the covariance."""
        along = features @ self.directions.T
        beside = features - along @ self.directions
        turned: Features = (along / self.variances) @ self.directions + beside / self.rest_variance
        return turned


def open_familiarity(path: Path, *, weights_sha256: str) -> LoadedFamiliarity:
    """Read what images exactly this model knows.

    Raises
    ------
    Permanent
        ``familiarity-unreadable``, or ``familiarity-of-another-model``.
    """
    try:
        content = path.read_bytes()
        familiarity = Familiarity.model_validate_json(content)
    except (OSError, ValidationError) as error:
        raise Permanent(
            "familiarity-unreadable",
            f"{path} does not say which images a model knows",
            tag="model.familiarity",
        ) from error
    if familiarity.weights_sha256 != weights_sha256:
        raise Permanent(
            "familiarity-of-another-model",
            f"{path} was fitted with other weights; run `raddraft model familiarise` again",
            tag="model.familiarity",
        )
    view = familiarity.view
    return LoadedFamiliarity(
        familiarity,
        hashlib.sha256(content).hexdigest(),
        _Arrays.of(familiarity.known),
        None if view is None else _Arrays.of(view.lateral),
    )


def fit_familiarity(
    frontal: Sequence[NDArray[np.floating]],
    lateral: Sequence[NDArray[np.floating]] = (),
    *,
    weights_sha256: str,
    source: str,
) -> Familiarity:
    """Parameters from pooled features (width,) of frontal and, for the view's head, of lateral images.

    Raises
    ------
    Permanent
        ``too-few-images`` below `FEWEST_IMAGES` frontal ones.
    """
    if len(frontal) < FEWEST_IMAGES:
        raise Permanent(
            "too-few-images", f"{len(frontal)} frontal images; at least {FEWEST_IMAGES} are needed"
        )
    known = np.asarray(frontal, dtype=np.float64)
    return Familiarity(
        weights_sha256=weights_sha256,
        source=source,
        images=len(known),
        known=_surroundings(known),
        view=_view_head(known, np.asarray(lateral, dtype=np.float64)),
    )


def _surroundings(known: Features) -> Surroundings:
    fitted = _fit(known)
    left_out = np.empty(len(known))
    for fold in range(_FOLDS):
        away = np.arange(len(known)) % _FOLDS == fold
        left_out[away] = _fit(known[~away]).distances(known[away])
    return Surroundings(
        mean=_short(fitted.mean),
        directions=tuple(_short(row) for row in fitted.directions),
        variances=_short(fitted.variances),
        rest_variance=float(f"{fitted.rest_variance:.{_DIGITS}g}"),
        limit=round(float(np.quantile(left_out, _LIMIT_QUANTILE)), 4),
    )


def _fit(features: Features) -> _Arrays:
    mean = features.mean(axis=0)
    _, spread, directions = np.linalg.svd(features - mean, full_matrices=False)
    variances = spread**2 / (len(features) - 1)
    kept = min(_COMPONENTS, len(features) // 2, features.shape[1] - 1)
    rest = float(variances[kept:].sum()) / (features.shape[1] - kept)
    # Features that never vary (a dead channel) leave nothing to divide by.
    floor = max(float(variances[0]) * 1e-9, 1e-12)
    return _Arrays(mean, directions[:kept], np.maximum(variances[:kept], floor), max(rest, floor))


def _view_head(frontal: Features, lateral: Features) -> ViewHead | None:
    """Fisher's linear discriminant with the covariance that both kinds share; None with too few lateral images."""
    if len(lateral) < FEWEST_LATERALS:
        return None
    weights, bias = _discriminant(frontal, lateral)
    wrong: list[list[bool]] = [[], []]
    for fold in range(_FOLDS):
        away = [np.arange(len(kind)) % _FOLDS == fold for kind in (frontal, lateral)]
        fitted, at = _discriminant(frontal[~away[0]], lateral[~away[1]])
        wrong[0] += list(frontal[away[0]] @ fitted + at > 0)
        wrong[1] += list(lateral[away[1]] @ fitted + at <= 0)
    return ViewHead(
        weights=_short(weights),
        bias=float(f"{bias:.{_DIGITS}g}"),
        lateral=_surroundings(lateral),
        laterals=len(lateral),
        missed=round(float(np.mean(wrong[1])), 4),
        mistaken=round(float(np.mean(wrong[0])), 4),
    )


def _discriminant(frontal: Features, lateral: Features) -> tuple[Features, float]:
    middle_of = frontal.mean(axis=0), lateral.mean(axis=0)
    shared = _fit(np.concatenate([frontal - middle_of[0], lateral - middle_of[1]]))
    weights = shared.whitened((middle_of[1] - middle_of[0])[None])[0]
    return weights, -float(weights @ (middle_of[0] + middle_of[1])) / 2


def _short(values: Features) -> tuple[float, ...]:
    return tuple(float(f"{value:.{_DIGITS}g}") for value in values)
