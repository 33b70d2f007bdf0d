"""95 % intervals by resampling patients: images of one patient are not independent of each other."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000

Indices = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A statistic, its 95 % interval (None for fewer than two patients, or no number) and the number of samples."""

    value: float
    low: float | None
    high: float | None
    n: int


def estimate(
    patients: Sequence[Hashable],
    statistic: Callable[[Indices], float],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Percentile interval of `statistic` over `resamples` draws of whole patients.

    Parameters
    ----------
    patients
        Patient of each sample.
    statistic
        From the indices of the samples drawn, some of them repeatedly, to a number; a NaN is left out.
    """
    every = np.arange(len(patients))
    names: dict[Hashable, list[int]] = {}
    for index, patient in enumerate(patients):
        names.setdefault(patient, []).append(index)
    groups = [np.array(group) for group in names.values()]
    value = statistic(every)
    if len(groups) < 2:
        return Estimate(value, None, None, len(patients))
    rng = np.random.default_rng(seed)
    drawn = [
        statistic(np.concatenate([groups[index] for index in rng.integers(len(groups), size=len(groups))]))
        for _ in range(resamples)
    ]
    if np.isnan(drawn).all():
        return Estimate(value, None, None, len(patients))
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return Estimate(value, float(low), float(high), len(patients))
