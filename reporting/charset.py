"""Our own words in the source's character set.

Patient data keep the bytes and the Specific Character Set of the source, so what we add has to be written in that
set too: letters it cannot hold become their nearest plain letters.
"""

from __future__ import annotations

import unicodedata

from pydicom import Dataset
from pydicom.charset import python_encoding

from reporting.source import element_of

_LO_LONGEST = 64
# Beyond ASCII these hold nothing, or need escape sequences, which no English text is worth.
_ASCII_ONLY = ("IR 6", "IR 13", "IR 58", "IR 87", "IR 149", "IR 159")
_PLAIN = str.maketrans(
    {
        "≥": ">=",
        "≤": "<=",
        "≈": "~",
        "±": "+/-",
        "×": "x",
        "–": "-",
        "—": "-",
        "‑": "-",
        "−": "-",
        "“": '"',
        "”": '"',
        "„": '"',
        "‘": "'",
        "’": "'",
        "…": "...",
        "°": " degrees",
        "µ": "u",
        "ß": "ss",
        "æ": "ae",
        "Æ": "AE",
        "ø": "o",
        "Ø": "O",
        "•": "-",
        "→": "->",
    }
)


def writable(text: str, header: Dataset) -> str:
    """`text` on one line, as the source's character set can write it.

    Letters without a plain relative become question marks. Control characters, which PS3.5 6.1.3 allows in no text of
    ours, become spaces.
    """
    line = " ".join("".join(c if unicodedata.category(c)[0] != "C" else " " for c in text).split())
    if _fits(line, _first_encoding(header)):
        return line
    plain = unicodedata.normalize("NFKD", line.translate(_PLAIN))
    letters = "".join(c for c in plain if not unicodedata.combining(c))
    return letters.encode("ascii", "replace").decode("ascii")


def long_string(text: str, header: Dataset) -> str:
    """`text` as a value of VR LO: `writable`, without the value separator, 64 characters at most."""
    return writable(text.replace("\\", "/"), header)[:_LO_LONGEST].rstrip()


def _first_encoding(header: Dataset) -> str:
    """Encoding of the first value of (0008,0005); ASCII where it says nothing or needs escape sequences.

    Without a value only the default repertoire, ASCII, may be used (PS3.5 6.1.2.2), whatever the source did.
    """
    element = element_of(header, "SpecificCharacterSet")
    value = None if element is None else element.value
    names = [value] if isinstance(value, str) else list(value or [])
    name = str(names[0]) if names else ""
    if not name or name.endswith(_ASCII_ONLY):
        return "ascii"
    return python_encoding.get(name, "ascii")


def _fits(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
