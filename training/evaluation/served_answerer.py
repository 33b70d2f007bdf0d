"""A model behind an OpenAI-compatible interface as an `Answerer`: greedy, the image as a PNG without loss."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event

import numpy as np
from numpy.typing import NDArray

from inference.sampling import Sampling
from inference.served import ChatTransport
from inference.served.chat import AnswerReader, ChatModel, data_url
from training.evaluation.suite import Asked

LONGEST_TOKENS = 1500
"""RadVLM's own evaluation lets an answer be that long."""


class ServedAnswerer:
    """Answers of one model of a server; `name` is what the server knows it by."""

    def __init__(self, transport: ChatTransport, name: str) -> None:
        self._transport = transport
        self._model = ChatModel(name, probabilities=False)

    def answers(self, image: NDArray[np.uint8], asked: Sequence[Asked]) -> list[str]:
        """Answers in the order asked; raises Transient or Permanent as the transport does."""
        url = data_url(image)
        bodies = [
            self._model.question(url, one.question, one.history, longest=LONGEST_TOKENS, sampling=Sampling())
            for one in asked
        ]
        return [AnswerReader().read(self._transport.chat(body, Event())).text for body in bodies]
