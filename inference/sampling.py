"""The next token: its scores, and how it is chosen."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clinical import Permanent


class TokenScores:
    """What the model says of the next token.

    Parameters
    ----------
    logits
        float32 (vocabulary,).
    best
        The most probable token.
    log_sum
        Logarithm of the sum of exponentials of the logits below the largest.
    """

    __slots__ = ("_largest", "_log_sum", "_logits", "best")

    def __init__(self, logits: NDArray[np.float32], best: int, log_sum: np.float32) -> None:
        self._logits = logits
        self.best = best
        self._largest = logits[best]
        self._log_sum = log_sum

    def checked(self) -> TokenScores:
        """Itself.

        Raises
        ------
        Permanent
            ``logits-not-finite`` if the weights or their precision are broken.
        """
        if not math.isfinite(self._largest):
            raise Permanent("logits-not-finite", "the model computes no numbers; its package is broken")
        return self

    def log_probability(self, token: int) -> float:
        """Natural logarithm of a token's probability."""
        return float(self._logits[token] - self._largest - self._log_sum)

    def log_probabilities(self) -> NDArray[np.float32]:
        """Natural logarithms of all tokens' probabilities."""
        result: NDArray[np.float32] = self._logits - self._largest - self._log_sum
        return result


def token_scores(logits: NDArray[np.float32]) -> list[TokenScores]:
    """Scores of each row of `logits` (rows, vocabulary)."""
    best = logits.argmax(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        below = logits - logits[np.arange(len(best)), best, None]
        np.exp(below, out=below)
        log_sums = np.log(below.sum(axis=1))
    return [TokenScores(*row) for row in zip(logits, best.tolist(), log_sums, strict=True)]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are chosen.

    Attributes
    ----------
    temperature
        0 always takes the most probable token; 1 follows the model's probabilities.
    top_p
        Tokens are drawn from the most probable ones that together reach this probability, above 0 to 1.
    seed
        Same seed, question, image and package: same answer.

    Raises
    ------
    Permanent
        ``sampling-invalid``.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not (0 <= self.temperature <= 100 and 0 < self.top_p <= 1 and self.seed >= 0):
            raise Permanent(
                "sampling-invalid", "temperature is 0 to 100, top_p above 0 to 1, the seed not negative"
            )


GREEDY = Sampling()


class Sampler:
    """Chooses the tokens of one answer."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        # Philox counts; its stream is the same on every platform and in every NumPy since 1.17.
        self._draws = np.random.Generator(np.random.Philox(sampling.seed))

    def choose(self, scores: TokenScores) -> int:
        """The next token."""
        if self._sampling.temperature == 0:
            return scores.best
        logits = scores.log_probabilities().astype(np.float64) / self._sampling.temperature
        probabilities = np.exp(logits - logits.max())
        probabilities /= probabilities.sum()
        order = np.argsort(-probabilities, kind="stable")
        cumulative = np.cumsum(probabilities[order])
        kept = int(np.searchsorted(cumulative, self._sampling.top_p)) + 1
        cumulative = cumulative[:kept]
        drawn = self._draws.random() * cumulative[-1]
        at = int(np.searchsorted(cumulative, drawn, side="right"))
        return int(order[min(at, len(cumulative) - 1)])
