"""Several questions about one image.

The image stays in the model's cache from question to question for as long as nobody else needs its row, and is read
again when it was needed. What was said is part of each prompt, so an answer is the same either way.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Protocol

from clinical import Box, Permanent, Transient
from inference.sampling import GREEDY, Sampling

Turns = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to a free question.

    Attributes
    ----------
    boxes_px
        Boxes of the text, in pixels of the stored image.
    confidence
        Geometric mean of the token probabilities, 0 to 1; None where the model's server does not tell them. Not a
        probability of being right.
    malformed
        Whether a box of the text is ill-formed, or the answer empty or cut off by its limit.
    """

    text: str
    boxes_px: tuple[Box, ...]
    confidence: float | None
    malformed: bool


@dataclass(frozen=True, slots=True)
class ConversationLimits:
    """How long a conversation may become, answers included; tokens count what was said and the question."""

    turns: int
    tokens: int


class _Ask(Protocol):
    def __call__(
        self, question: str, history: Turns, *, sampling: Sampling, deadline_s: float | None
    ) -> Generator[str, None, Answer]: ...


class _Measure(Protocol):
    def __call__(self, question: str, history: Turns) -> int: ...


class Conversation:
    """Questions about one image, each knowing what was said before; one at a time."""

    def __init__(self, ask: _Ask, measure: _Measure, limits: ConversationLimits) -> None:
        self._ask = ask
        self._measure = measure
        self._limits = limits
        self._turns: list[tuple[str, str]] = []
        self._speaking = Lock()

    @property
    def history(self) -> tuple[tuple[str, str], ...]:
        """Questions and answers so far."""
        return tuple(self._turns)

    def ask(self, question: str, *, sampling: Sampling = GREEDY, deadline_s: float | None = None) -> Answer:
        """Ask the next question.

        Raises
        ------
        Permanent
            ``conversation-too-long`` beyond the limits.
        Transient
            ``conversation-busy`` while another question of it is being answered.
        """
        stream = self.ask_stream(question, sampling=sampling, deadline_s=deadline_s)
        while True:
            try:
                next(stream)
            except StopIteration as end:
                answer: Answer = end.value
                return answer

    def ask_stream(
        self, question: str, *, sampling: Sampling = GREEDY, deadline_s: float | None = None
    ) -> Generator[str, None, Answer]:
        """Ask the next question; yields its text piece by piece and returns the answer.

        A question whose stream is closed before its end leaves no turn.
        """
        if not self._speaking.acquire(blocking=False):
            raise Transient("conversation-busy", "the question before is still being answered")
        try:
            history = self.history
            if len(history) >= self._limits.turns or self._measure(question, history) > self._limits.tokens:
                raise Permanent("conversation-too-long", "begin a new conversation about this image")
            answer = yield from self._ask(question, history, sampling=sampling, deadline_s=deadline_s)
            self._turns.append((question, answer.text))
            return answer
        finally:
            self._speaking.release()
