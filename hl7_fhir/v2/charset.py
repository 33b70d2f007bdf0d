"""Character sets and escapes of HL7 version 2: no text of ours can end a field, a segment or a frame."""

from __future__ import annotations

import re
import unicodedata

from clinical import Permanent

# Table 0211 (HL7 2.5.1 2.A.1) to Python's codec. An empty MSH-18 means ASCII (2.15.9.18).
CHARSETS = {
    "": "ascii",
    "ASCII": "ascii",
    **{f"8859/{part}": f"iso8859_{part}" for part in (1, 2, 3, 4, 5, 6, 7, 8, 9, 15)},
    "UNICODE UTF-8": "utf-8",
}
# Chapter 2.7.1: the delimiters and the escape character itself.
_ESCAPES = {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\"}
_UNESCAPES = {"E": "\\", "F": "|", "S": "^", "T": "&", "R": "~", ".br": "\n"}
_ESCAPED = re.compile(r"\\([^\\\r]*)\\")
_LETTERS = {
    "ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "đ": "d", "Đ": "D", "ł": "l",
    "Ł": "L", "þ": "th", "Þ": "Th", "ı": "i", "×": "x", "–": "-", "—": "-", "‐": "-", "‑": "-", "…": "...",
    "‘": "'", "’": "'", "“": '"', "”": '"', "«": '"', "»": '"', "≥": ">=", "≤": "<=", "±": "+/-", "µ": "u",
    "°": " deg", "•": "-", "→": "->",
}  # fmt: skip


class NotEncodable(Permanent):
    """The message has characters its character set lacks; nothing is replaced by a question mark."""

    def __init__(self, charset: str) -> None:
        super().__init__(
            "text-not-encodable",
            f"the message has characters that {charset or 'ASCII'} lacks; choose another charset or transliterate",
        )


def escape(text: str) -> str:
    r"""Text as a field carries it (chapter 2.7): delimiters escaped, line ends as ``\.br\``, no control characters.

    0x0B and 0x1C frame a message in MLLP and 0x0D ends a segment: none of them is ever part of a value.
    """
    lines = re.split(r"\r\n|\r|\n|\x85|\u2028|\u2029", text)
    return "\\.br\\".join("".join(_ESCAPES.get(c, c) for c in _printable(line)) for line in lines)


def unescape(text: str) -> str:
    r"""Text that `escape` or another maker wrote; an escape that is not text (highlighting, ``\Zxx\``) is dropped."""

    def meant(match: re.Match[str]) -> str:
        body = match.group(1)
        if body in _UNESCAPES:
            return _UNESCAPES[body]
        if re.fullmatch(r"X([0-9A-Fa-f]{2})+", body):
            return bytes.fromhex(body[1:]).decode("latin-1")
        return ""

    return _ESCAPED.sub(meant, text)


def _printable(line: str) -> str:
    return "".join(c if unicodedata.category(c)[0] != "C" or c == "\u200d" else " " for c in line)


def encode(text: str, charset: str, *, transliterate: bool) -> bytes:
    """A message in its character set (a name of Table 0211).

    Parameters
    ----------
    transliterate
        Write what the set lacks in its nearest letters instead of refusing; a letter without any is still refused.

    Raises
    ------
    NotEncodable
        If a character cannot be written.
    """
    codec = CHARSETS[charset]
    try:
        return text.encode(codec)
    except UnicodeEncodeError:
        if not transliterate:
            raise NotEncodable(charset) from None
    try:
        return "".join(_nearest(c, codec) for c in text).encode(codec)
    except UnicodeEncodeError:
        raise NotEncodable(charset) from None


def encodable(text: str, charset: str) -> str:
    """Text as near as a character set can write it, without the characters it has nothing near for."""
    codec = CHARSETS[charset]
    return "".join(_nearest(c, codec) for c in text).encode(codec, errors="ignore").decode(codec)


def _nearest(character: str, codec: str) -> str:
    try:
        character.encode(codec)
    except UnicodeEncodeError:
        known = _LETTERS.get(character)
        if known is not None:
            return known
        apart = unicodedata.normalize("NFKD", character)
        return "".join(c for c in apart if not unicodedata.combining(c))
    return character


def decode(data: bytes, charset: str) -> str:
    """Text of a received message; an unknown name is read as UTF-8, and what does not fit is marked."""
    return data.decode(CHARSETS.get(charset, "utf-8") if charset else "utf-8", errors="replace")
