"""A model in a far server as a backend: its image prefix is the server's own cache, its cost is the server's."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import exp, log
from threading import Event
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinical import Permanent
from inference.backend import Timed, untimed
from inference.frames import TokenEconomy, scaled_down
from inference.generation import LONGEST_ANSWER, Generation
from inference.requests import Await, Decode, Priority, Request, Steps, Together, Wait
from inference.sampling import GREEDY, Sampling
from inference.served.chat import AnswerReader, ChatModel, ChatTransport, data_url
from inference.served.far_call import FarCall

# Below this the rest of a text cannot matter to a score between 0 and 1.
_NEGLIGIBLE_LOG_PROBABILITY = log(1e-4)
# Characters of a token, about: the server counts its own, this only bounds a conversation.
_CHARACTERS_PER_TOKEN = 3


@dataclass(frozen=True, slots=True)
class FarImage:
    """An image as it is sent; a context manager that has nothing to give back."""

    url: str

    def __enter__(self) -> FarImage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Permits:
    """How many requests are on their way at once; used by the engine thread only.

    Parameters
    ----------
    most
        For everybody.
    reserve
        More that only those with priority may use.
    """

    def __init__(self, most: int, reserve: int) -> None:
        self._free = most + reserve
        self._reserve = reserve

    def take(self, priority: Priority) -> bool | None:
        """True where one was free."""
        if self._free <= (0 if priority is Priority.STAT else self._reserve):
            return None
        self._free -= 1
        return True

    def give_back(self) -> None:
        """One request has ended."""
        self._free += 1


class ServedVlm:
    """Asks a far server.

    Parameters
    ----------
    continues
        Whether the server lets a model go on within an answer that was begun for it: then every label is scored.
    """

    def __init__(
        self,
        transport: ChatTransport,
        model: ChatModel,
        *,
        continues: bool,
        permits: Permits,
        economy: TokenEconomy,
    ) -> None:
        self._transport = transport
        self._model = model
        self._continues = continues
        self._permits = permits
        self._economy = economy

    @property
    def cache_bytes(self) -> int:
        """The cache is the server's."""
        return 0

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def decode(self, requests: Sequence[Decode]) -> Sequence[Any]:
        """Nothing is decoded in this process."""
        raise Permanent("no-decoder", "a served model is asked, not stepped")

    def tiles(self, gray: NDArray[np.uint8], economy: TokenEconomy | None = None) -> FarImage:
        """The image as it is sent; the server cuts its tiles itself."""
        sides = [each.downscale_to for each in (self._economy, economy) if each and each.downscale_to]
        return FarImage(data_url(scaled_down(gray, min(sides) if sides else None)))

    def token_count(self, tiles: FarImage) -> int:
        """Not told by the server before it is asked."""
        return 0

    def text_length(self, question: str, history: Sequence[tuple[str, str]] = ()) -> int:
        """Tokens of a question and what was said before it, about."""
        said = sum(len(asked) + len(answered) for asked, answered in history)
        return (said + len(question)) // _CHARACTERS_PER_TOKEN

    def read_image(self, tiles: FarImage, timed: Timed = untimed) -> Steps[AbstractContextManager[Any]]:
        """The image itself: the server reads it with the first question and keeps it in its prefix cache."""
        yield None
        return tiles

    def pooled(self, prefix: FarImage) -> None:
        """The server does not tell its features."""

    def answer(
        self,
        prefix: FarImage,
        question: str,
        *,
        history: Sequence[tuple[str, str]] = (),
        longest: int = LONGEST_ANSWER,
        sampling: Sampling = GREEDY,
        hear: Callable[[str], None] = lambda piece: None,
    ) -> Steps[Generation]:
        """Answer to a question about the image."""
        body = self._model.question(prefix.url, question, history, longest=longest, sampling=sampling)
        answer, _ = yield from self._ask(body, hear)
        return answer

    def _ask(
        self, body: dict[str, Any], hear: Callable[[str], None] = lambda piece: None
    ) -> Steps[tuple[Generation, AnswerReader]]:
        heard = Event()

        def listen(piece: str) -> None:
            heard.set()
            hear(piece)

        def call(stop: Event) -> tuple[Generation, AnswerReader]:
            reader = AnswerReader(listen)
            return reader.read(self._transport.chat(body, stop)), reader

        yield Wait(self._permits.take)
        far = FarCall(call, began=heard.is_set)
        try:
            result: tuple[Generation, AnswerReader] = yield Await(far.future)
            return result
        finally:
            far.stop()
            self._permits.give_back()

    def continuations(
        self, prefix: FarImage, question: str, said: str, texts: Sequence[str]
    ) -> Steps[list[float | None]]:
        """Probability of each text right after `said`, one token at a time among the alternatives the server tells.

        A token that is not among them counts as impossible: it is less probable than each of the 20 that are.
        """
        if not self._continues:
            return [None] * len(texts)
        walks = [_Walk(text) for text in texts]
        while going := [
            walk for walk in walks if walk.rest and walk.log_probability > _NEGLIGIBLE_LOG_PROBABILITY
        ]:
            places = sorted({walk.path for walk in going})
            told = yield Together(tuple(self._alternatives(prefix, question, said + path) for path in places))
            after = dict(zip(places, told, strict=True))
            for walk in going:
                walk.follow(after[walk.path])
        return [exp(walk.log_probability) for walk in walks]

    def _alternatives(
        self, prefix: FarImage, question: str, said: str
    ) -> Generator[Request, Any, dict[str, float]]:
        _, reader = yield from self._ask(self._model.continuation(prefix.url, question, said))
        return reader.first


@dataclass(slots=True)
class _Walk:
    """A text that is followed token by token."""

    rest: str
    path: str = ""
    log_probability: float = 0.0

    def follow(self, alternatives: dict[str, float]) -> None:
        fitting = {
            token: told for token, told in alternatives.items() if token and self.rest.startswith(token)
        }
        if not fitting:
            self.log_probability = float("-inf")
            return
        # Several tokens may begin the rest; the model was trained on the one it finds most probable.
        token = max(fitting, key=lambda each: (fitting[each], len(each)))
        self.log_probability += fitting[token]
        self.path += token
        self.rest = self.rest[len(token) :]
