"""A text model behind an OpenAI-compatible interface, asked one thing at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from threading import Event
from typing import Any

from clinical import Transient
from inference.served import ChatTransport
from inference.served.chat import AnswerReader

_FIRST_DELAY_S = 1.0
_LONGEST_DELAY_S = 60.0


class Author:
    """Writes an answer to a prompt; tries again while the server is away or busy.

    Parameters
    ----------
    transport
        The way to the server; the network is its matter.
    name
        What the server knows the model by.
    attempts
        How often one prompt is tried before `Transient` is raised.
    """

    def __init__(
        self,
        transport: ChatTransport,
        name: str,
        *,
        attempts: int = 8,
        longest_tokens: int = 4096,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._transport, self._name = transport, name
        self._attempts, self._longest_tokens, self._sleep = attempts, longest_tokens, sleep

    def write(self, prompt: str) -> str:
        """Greedy answer to one prompt, without blanks around it.

        Raises
        ------
        Transient
            The server stayed away for all attempts.
        Permanent
            The server refuses the request, or us.
        """
        body: Mapping[str, Any] = {
            "model": self._name,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": self._longest_tokens,
            "temperature": 0.0,
            "stream": True,
        }
        delay_s = _FIRST_DELAY_S
        for attempt in range(self._attempts):
            try:
                return AnswerReader().read(self._transport.chat(body, Event())).text.strip()
            except Transient:
                if attempt + 1 == self._attempts:
                    raise
                self._sleep(delay_s)
                delay_s = min(2 * delay_s, _LONGEST_DELAY_S)
        raise AssertionError("attempts is at least 1")
