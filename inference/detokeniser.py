"""Tokens to text, one token at a time."""

from __future__ import annotations

from tokenizers import Tokenizer

# What a decoder writes for bytes that are no whole character yet.
_REPLACEMENT = "\ufffd"


class Detokeniser:
    """Text of an answer that grows; each token costs the same, however long the answer is.

    Attributes
    ----------
    tokens
        So far.
    ends
        Length of the text after each token.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.tokens: list[int] = []
        self.ends: list[int] = []
        # A token's text may depend on the one before it, so one whole token before the open ones is decoded again.
        self._from, self._open = 0, 0
        self._whole = ""

    @property
    def text(self) -> str:
        """The text so far; a character that is not whole yet shows as U+FFFD."""
        return self._whole + self._tail()

    @property
    def unheard(self) -> str:
        """What `add` has not handed out: the open end of a text that was cut off within a character."""
        return self._tail()

    def add(self, token: int) -> str:
        """Add a token; the characters that have become whole."""
        self.tokens.append(token)
        tail = self._tail()
        self.ends.append(len(self._whole) + len(tail))
        if tail.endswith(_REPLACEMENT):
            return ""
        self._whole += tail
        self._from, self._open = self._open, len(self.tokens)
        return tail

    def _tail(self) -> str:
        before = self._decoded(self._from, self._open)
        return self._decoded(self._from, len(self.tokens))[len(before) :]

    def _decoded(self, start: int, end: int) -> str:
        return (
            self._tokenizer.decode(self.tokens[start:end], skip_special_tokens=False) if end > start else ""
        )
