"""Whether readings of a device still look like its first ones: rules over numbers and events, without any label.

Inputs and outputs are watched together, as in CheXstray (arXiv 2202.02833) and MMC+ (arXiv 2410.13174). A number (a
gate's score, a confidence) has changed when its recent values differ from the first ones by the two-sample
Kolmogorov-Smirnov test and by the population stability index, which says that the difference is also large. An event (a
finding present, an image refused) has changed when its Bernoulli CUSUM (Reynolds and Stoumbos 1999) for 2.5 times or
1/2.5 of the first odds passes its limit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import log, sqrt
from statistics import mean

import numpy as np
from numpy.typing import NDArray

# The rules are asked again and again, of a dozen numbers: one false alarm in ten thousand looks each.
_HIGHEST_P = 1e-4
# From here on practice calls a population "shifted"; 0.1 to 0.25 is a moderate change.
_LEAST_PSI = 0.25
_PSI_BINS = 10
_ODDS_RATIO = 2.5
# A false alarm comes once in e^8 = 3,000 images or more (Wald's bound), and in practice far more seldom.
CUSUM_LIMIT = 8.0
_BOUND_Z = 2.0
_SELDOM = 1e-3
_FEWEST_RECENT = 30


@dataclass(frozen=True, slots=True)
class DriftTerms:
    """How many first images make the comparison's base, and how many recent ones are compared with them."""

    baseline_images: int = 200
    recent_images: int = 100


@dataclass(frozen=True, slots=True)
class Observation:
    """What one image and its reading looked like.

    Attributes
    ----------
    numbers
        Values by name.
    events
        Whether something was so, by name.
    """

    numbers: Mapping[str, float] = field(default_factory=dict)
    events: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class QuantityVerdict:
    """One quantity of one device.

    Attributes
    ----------
    score
        The index or the CUSUM that is compared with its limit.
    """

    quantity: str
    changed: bool
    score: float
    evidence: str


def drift_verdicts(
    first: Sequence[Observation], later: Sequence[Observation], terms: DriftTerms
) -> tuple[QuantityVerdict, ...]:
    """Every quantity that can be judged; none before the base is whole and some images have followed.

    Parameters
    ----------
    first
        The base, oldest first.
    later
        What followed, oldest first.
    """
    if len(first) < terms.baseline_images or len(later) < min(_FEWEST_RECENT, terms.recent_images):
        return ()
    recent = later[-terms.recent_images :]
    found = [_number_verdict(name, first, recent) for name in _names(o.numbers for o in first)]
    found += [_event_verdict(name, first, later, recent) for name in _names(o.events for o in first)]
    return tuple(verdict for verdict in found if verdict is not None)


def _names(entries: Iterable[Mapping[str, object]]) -> list[str]:
    return sorted({name for entry in entries for name in entry})


def _number_verdict(
    name: str, first: Sequence[Observation], recent: Sequence[Observation]
) -> QuantityVerdict | None:
    # Only who judges pays for the library's start.
    from scipy.stats import ks_2samp

    before, now = (
        np.array([o.numbers[name] for o in part if name in o.numbers], dtype=np.float64)
        for part in (first, recent)
    )
    if min(len(before), len(now)) < _FEWEST_RECENT:
        return None
    p_value = float(ks_2samp(before, now, method="asymp").pvalue)
    index = stability_index(before, now)
    evidence = (
        f"{name}: median {np.median(before):.3g} of the first {len(before)}, {np.median(now):.3g} of the last "
        f"{len(now)} (stability index {index:.2f}, Kolmogorov-Smirnov p {p_value:.1g})"
    )
    changed = p_value < _HIGHEST_P and index > _LEAST_PSI
    return QuantityVerdict(name, changed, round(index, 3), evidence)


def stability_index(before: NDArray[np.float64], now: NDArray[np.float64]) -> float:
    """Population stability index over the tenths of `before`; 0 where both are spread alike."""
    edges = np.unique(np.quantile(before, np.linspace(0, 1, _PSI_BINS + 1)[1:-1]))
    bins = len(edges) + 1
    # A bin that holds none of a sample would make the index infinite: each sample has half an image more in every bin.
    shares = [
        (np.bincount(np.searchsorted(edges, values, side="right"), minlength=bins) + 0.5)
        / (len(values) + 0.5 * bins)
        for values in (before, now)
    ]
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())


def _event_verdict(
    name: str, first: Sequence[Observation], later: Sequence[Observation], recent: Sequence[Observation]
) -> QuantityVerdict | None:
    before, after, now = (
        [o.events[name] for o in part if name in o.events] for part in (first, later, recent)
    )
    if min(len(before), len(now)) < _FEWEST_RECENT:
        return None
    score = event_cusum(before, after)
    evidence = (
        f"{name}: {mean(before):.1%} of the first {len(before)}, {mean(now):.1%} of the last {len(now)} "
        f"(CUSUM {score:.1f}, limit {CUSUM_LIMIT:g})"
    )
    return QuantityVerdict(name, score > CUSUM_LIMIT, round(score, 3), evidence)


def event_cusum(before: Sequence[bool], after: Sequence[bool]) -> float:
    """The greater of two CUSUMs, for more and for fewer, at the end of `after`; bounded, so it comes down again."""
    lowest, highest = _share_bounds(sum(before), len(before))
    return max(_cusum(after, highest, _ODDS_RATIO), _cusum(after, lowest, 1 / _ODDS_RATIO))


def _share_bounds(count: int, total: int) -> tuple[float, float]:
    """Between what a share lies that was `count` of `total` (Wilson 1927).

    Without this what a short base happens to hold would be taken for the truth: with 200 images one device in seven
    that stays as it was would raise an alarm within 1,000 more.
    """
    share, spread = count / total, _BOUND_Z**2 / total
    middle = (share + spread / 2) / (1 + spread)
    reach = sqrt(spread * share * (1 - share) + spread**2 / 4) / (1 + spread)
    return max(middle - reach, _SELDOM), min(middle + reach, 1 - _SELDOM)


def _cusum(after: Sequence[bool], usual: float, ratio: float) -> float:
    shifted = ratio * usual / (1 - usual + ratio * usual)
    step = {True: log(shifted / usual), False: log((1 - shifted) / (1 - usual))}
    reached = 0.0
    for event in after:
        reached = min(max(0.0, reached + step[event]), 2 * CUSUM_LIMIT)
    return reached
