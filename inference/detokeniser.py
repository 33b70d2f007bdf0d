"""Tokens to text, one token at a time."""

from __future__ import annotations

from tokenizers import Tokenizer

# What a decoder writes for bytes that are no whole character yet.
_REPLACEMENT = "\ufffd"


class Detokeniser:
    """Text of an answer that grows; each token costs the same, however long the answer is.

    For byte-level vocabularies, as this model family has: a token's bytes do not depend on the token before it.

    Attributes
    ----------
    tokens
        So far.
    ends
        Length of the text after each token.
    unheard
        What `add` has not handed out: the open end of a text that stops within a character.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.tokens: list[int] = []
        self.ends: list[int] = []
        self.unheard = ""
        self._open = 0
        self._pieces: list[str] = []
        self._length = 0

    @property
    def text(self) -> str:
        """The text so far; a character that is not whole yet shows as U+FFFD."""
        return "".join(self._pieces) + self.unheard

    def add(self, token: int) -> str:
        """Add a token; the characters that have become whole."""
        self.tokens.append(token)
        piece: str = self._tokenizer.decode(self.tokens[self._open :], skip_special_tokens=False)
        self.ends.append(self._length + len(piece))
        if piece.endswith(_REPLACEMENT):
            self.unheard = piece
            return ""
        self.unheard = ""
        self._pieces.append(piece)
        self._length += len(piece)
        self._open = len(self.tokens)
        return piece
