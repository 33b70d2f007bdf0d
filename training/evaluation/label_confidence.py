"""How sure a model was of each label, against what is there: calibration error, reliability, precision and recall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.calibration import expected_calibration_error
from training.evaluation.bootstrap import Indices

_BINS = 10


@dataclass(frozen=True, slots=True)
class Confidences:
    """Per image and label the stated probability and whether it is there, both (N, L); NaN where none was stated."""

    labels: tuple[str, ...]
    stated: NDArray[np.float64]
    there: NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        stated: Sequence[Mapping[str, float]],
        there: Sequence[frozenset[str]],
        vocabulary: Sequence[str],
    ) -> Confidences:
        """From each image's probabilities by label and its true labels; labels without any probability are left out."""
        labels = tuple(label for label in vocabulary if any(label in one for one in stated))
        scores = np.array([[one.get(label, np.nan) for label in labels] for one in stated], dtype=np.float64)
        present = np.array([[label in truth for label in labels] for truth in there], dtype=np.bool_)
        return cls(labels, scores.reshape(len(stated), -1), present.reshape(len(there), -1))

    def ece(self, chosen: Indices) -> float:
        """Expected calibration error over all labels of the chosen images, ten bins (Guo et al., 2017), 0 to 1."""
        stated, there = self.stated[chosen].ravel(), self.there[chosen].ravel()
        known = ~np.isnan(stated)
        return expected_calibration_error(stated[known], there[known]) if known.any() else float("nan")

    def reliability(self) -> list[dict[str, float]]:
        """For each bin that holds any: mean stated probability, observed frequency, and how many."""
        stated, there = self.stated.ravel(), self.there.ravel()
        known = ~np.isnan(stated)
        stated, there = stated[known], there[known]
        bins = np.minimum((stated * _BINS).astype(np.int64), _BINS - 1)
        return [
            {
                "stated": float(stated[bins == number].mean()),
                "observed": float(there[bins == number].mean()),
                "n": int((bins == number).sum()),
            }
            for number in range(_BINS)
            if (bins == number).any()
        ]

    def curves(self) -> dict[str, dict[str, list[float] | float]]:
        """Precision and recall of each label that is there at all, from the surest image down, and the area below.

        The area is the average precision: precision at each image that has the label, averaged over those.
        """
        found: dict[str, dict[str, list[float] | float]] = {}
        for index, label in enumerate(self.labels):
            known = ~np.isnan(self.stated[:, index])
            stated, there = self.stated[known, index], self.there[known, index]
            if not there.any():
                continue
            recall, precision = _curve(stated, there)
            steps = np.diff(np.concatenate([[0.0], recall]))
            found[label] = {
                "recall": recall.tolist(),
                "precision": precision.tolist(),
                "average_precision": float((steps * precision).sum()),
            }
        return found


def _curve(
    stated: NDArray[np.float64], there: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Recall and precision at each distinct threshold, from the highest down; images of one score come together."""
    order = np.argsort(-stated, kind="stable")
    hits = np.cumsum(there[order])
    last = np.append(np.flatnonzero(np.diff(stated[order])), len(order) - 1)
    return hits[last] / there.sum(), hits[last] / (last + 1)


def confusion(
    said: Sequence[frozenset[str]], there: Sequence[frozenset[str]], labels: Sequence[str]
) -> list[list[int]]:
    """Rows what is there, columns what was said (L + 1, L + 1): one label taken for another.

    A label that is there and said counts on the diagonal. One that is there and not said counts once for each
    label that was said and is not there, or in the last column where there is none; the last row counts what
    was said of images where nothing was missed.
    """
    position = {label: index for index, label in enumerate(labels)}
    table = np.zeros((len(labels) + 1, len(labels) + 1), dtype=np.int64)
    for named, true in zip(said, there, strict=True):
        missed = [position[label] for label in true - named if label in position] or [len(labels)]
        invented = [position[label] for label in named - true if label in position] or [len(labels)]
        for label in true & named:
            table[position[label], position[label]] += 1
        for row in missed:
            for column in invented:
                table[row, column] += 1
    table[-1, -1] = 0  # images without a mistake, which are no confusion
    rows: list[list[int]] = table.tolist()
    return rows
