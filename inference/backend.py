"""What a reading asks of a model, wherever its weights are: in this process, or in a server that runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from inference.frames import TokenEconomy
from inference.generation import LONGEST_ANSWER, Generation
from inference.requests import Decode, Steps
from inference.sampling import GREEDY, Sampling

# Told the name of a stage and the seconds it took.
Timed = Callable[[str, float], None]


def untimed(name: str, seconds: float) -> None:
    """Nobody asks how long a stage took."""


class Backend(Protocol):
    """A model that reads one image and answers questions about it, as steps of the engine.

    What `tiles` and `read_image` answer is a backend's own: it is handed back and not looked into.
    """

    @property
    def cache_bytes(self) -> int:
        """Bytes the cache of keys and values may come to hold in this process."""

    def decode(self, requests: Sequence[Decode]) -> Sequence[Any]:
        """One decode step of several rows."""

    def tiles(self, gray: NDArray[np.uint8], economy: TokenEconomy | None = None) -> Any:
        """Model input of a displayed image (rows, columns); any thread may ask."""

    def token_count(self, tiles: Any) -> int:
        """Image tokens the decoder reads for an image."""

    def text_length(self, question: str, history: Sequence[tuple[str, str]] = ()) -> int:
        """Tokens of a question and what was said before it; any thread may ask."""

    def read_image(self, tiles: Any, timed: Timed = untimed) -> Steps[AbstractContextManager[Any]]:
        """The image, read: every question continues from it."""

    def pooled(self, prefix: Any) -> NDArray[np.float32] | None:
        """Mean vision features (width,) of the whole image's tokens; None where the backend does not tell them."""

    def answer(
        self,
        prefix: Any,
        question: str,
        *,
        history: Sequence[tuple[str, str]] = (),
        longest: int = LONGEST_ANSWER,
        sampling: Sampling = GREEDY,
        hear: Callable[[str], None] = lambda piece: None,
    ) -> Steps[Generation]:
        """Answer to a question about the image; `hear` is told each piece of text as soon as it is whole."""

    def continuations(
        self, prefix: Any, question: str, said: str, texts: Sequence[str]
    ) -> Steps[list[float | None]]:
        """Probability of each text right after `said` in the answer to a question; None where it is not told."""

    def close(self) -> None:
        """Give back what is held beyond this process's memory."""
