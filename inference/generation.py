"""An answer of the model, and how long one may become."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

LONGEST_ANSWER = 512
# What was said before, and the question.
CONVERSATION_TOKENS = 1536


@dataclass(frozen=True, slots=True)
class Generation:
    """One answer.

    Attributes
    ----------
    tokens
        The answer's tokens without the end of turn; empty where a far server does not number them.
    log_probabilities
        How probable each was; empty where a far server does not say it.
    finished
        Whether the model ended its turn; False where the limit cut it off.
    """

    text: str
    tokens: tuple[int, ...]
    log_probabilities: tuple[float, ...]
    finished: bool
    spans: tuple[tuple[int, int], ...] = field(default=(), repr=False)

    @property
    def confidence(self) -> float | None:
        """Geometric mean of the token probabilities, rounded; None where they are not known."""
        if self.log_probabilities:
            return round(float(np.exp(np.mean(self.log_probabilities))), 4)
        return None if self.text else 0.0

    def confidence_of(self, parts: Sequence[tuple[int, int]]) -> float | None:
        """Geometric mean over the tokens that touch the given (start, end) characters of the text."""
        chosen = self._touching(parts)
        return float(np.exp(np.mean(chosen))) if chosen else None

    def least_sure_of(self, parts: Sequence[tuple[int, int]]) -> float | None:
        """Probability of the least probable token that touches the given (start, end) characters of the text."""
        chosen = self._touching(parts)
        return float(np.exp(min(chosen))) if chosen else None

    def _touching(self, parts: Sequence[tuple[int, int]]) -> list[float]:
        return [
            logp
            for (first, last), logp in zip(self.spans, self.log_probabilities, strict=True)
            if any(first < end and last > start for start, end in parts)
        ]
