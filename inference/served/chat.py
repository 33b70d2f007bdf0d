"""The chat interface of OpenAI's API as vLLM, SGLang, Triton and TensorRT-LLM speak it: requests and streamed answers.

What is sent of a patient is the displayed pixels and the question, nothing else.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from threading import Event
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clinical import Transient
from inference.generation import Generation
from inference.sampling import Sampling

Turns = Sequence[tuple[str, str]]
# The most alternatives of a token that vLLM tells without a setting of its own.
MOST_ALTERNATIVES = 20


class ChatTransport(Protocol):
    """Carries requests to the server; the network is its matter."""

    def models(self) -> list[dict[str, Any]]:
        """What the server says it serves (``GET /models``)."""

    def chat(self, body: Mapping[str, Any], stop: Event) -> Iterator[dict[str, Any]]:
        """Chunks of a streamed answer (``POST /chat/completions``), until its end or until `stop` is set.

        Raises
        ------
        Transient
            The server is away, busy or ended before its answer did.
        Permanent
            The server refuses this request, or us.
        """

    def close(self) -> None:
        """Close its connections."""


def data_url(gray: NDArray[np.uint8]) -> str:
    """A displayed image (rows, columns) as a PNG in a data URL: without loss, and without metadata."""
    buffer = BytesIO()
    Image.fromarray(gray).save(buffer, format="PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


@dataclass(frozen=True, slots=True)
class ChatModel:
    """Requests to one model of a server.

    Attributes
    ----------
    name
        What the server knows it by.
    probabilities
        Whether the server is asked for its tokens' probabilities.
    """

    name: str
    probabilities: bool = True

    def question(
        self, image_url: str, question: str, history: Turns, *, longest: int, sampling: Sampling
    ) -> dict[str, Any]:
        """Body that asks a question after what was said before."""
        turns = [*history, (question, "")]
        image = {"type": "image_url", "image_url": {"url": image_url}}
        messages: list[dict[str, Any]] = []
        for number, (asked, answered) in enumerate(turns):
            text = {"type": "text", "text": asked}
            messages.append({"role": "user", "content": [image, text] if number == 0 else [text]})
            if number + 1 < len(turns):
                messages.append({"role": "assistant", "content": answered})
        body = {
            "model": self.name,
            "messages": messages,
            "max_tokens": longest,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sampling.seed,
            "stream": True,
        }
        return body | ({"logprobs": True} if self.probabilities else {})

    def continuation(self, image_url: str, question: str, said: str, *, echo: bool = False) -> dict[str, Any]:
        """Body that asks for the probabilities of the token after `said` in an answer that was begun for the model."""
        greedy = Sampling()
        body = self.question(image_url, question, (), longest=1, sampling=greedy)
        body["messages"].append({"role": "assistant", "content": said})
        body |= {"top_logprobs": MOST_ALTERNATIVES, "logprobs": True}
        # vLLM and SGLang: the last message is not ended, the model goes on within it.
        body |= {"add_generation_prompt": False, "continue_final_message": True}
        return body | ({"echo": True} if echo else {})


@dataclass(slots=True)
class AnswerReader:
    """A streamed answer put together.

    Attributes
    ----------
    first
        Alternatives of the answer's first token with the logarithms of their probabilities; empty where not told.
    system
        What the server says of its own build.
    """

    hear: Callable[[str], None] = lambda piece: None
    first: dict[str, float] = field(default_factory=dict)
    system: str = ""
    _text: str = ""
    _tokens: list[tuple[str, float]] = field(default_factory=list)
    _reason: str | None = None

    def read(self, chunks: Iterable[dict[str, Any]]) -> Generation:
        """The whole answer.

        Raises
        ------
        Transient
            ``model-server-broke-off`` if the stream ends before the answer does.
        """
        for chunk in chunks:
            self.system = self.system or str(chunk.get("system_fingerprint") or "")
            for choice in chunk.get("choices") or ():
                self._add(choice)
        if self._reason is None:
            raise Transient("model-server-broke-off", "the model's server ended an answer before its end")
        spans, probabilities = _placed(self._text, self._tokens)
        return Generation(self._text, (), probabilities, self._reason == "stop", spans)

    def _add(self, choice: Mapping[str, Any]) -> None:
        piece = (choice.get("delta") or {}).get("content") or ""
        for entry in (choice.get("logprobs") or {}).get("content") or ():
            if not self._tokens:
                told = (*(entry.get("top_logprobs") or ()), entry)
                self.first = {_text_of(one): float(one["logprob"]) for one in told}
            self._tokens.append((_text_of(entry), float(entry["logprob"])))
        self._reason = choice.get("finish_reason") or self._reason
        if piece:
            self._text += piece
            self.hear(piece)


def _text_of(entry: Mapping[str, Any]) -> str:
    """Text of a token; its bytes say it exactly, where they are whole characters."""
    told = entry.get("bytes")
    try:
        return bytes(told).decode("utf-8") if told else str(entry["token"])
    except (UnicodeDecodeError, ValueError):
        return str(entry["token"])


def _placed(
    text: str, tokens: Sequence[tuple[str, float]]
) -> tuple[tuple[tuple[int, int], ...], tuple[float, ...]]:
    """Where the tokens stand in the text, and their probabilities; the token that ends a turn stands nowhere."""
    at = 0
    spans, probabilities = [], []
    for token, log_probability in tokens:
        if token and text.startswith(token, at):
            spans.append((at, at + len(token)))
            probabilities.append(log_probability)
            at += len(token)
    return tuple(spans), tuple(probabilities)
