"""What a client accepts (RFC 9110 section 12.5.1, PS3.18 section 8.7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from python_multipart.multipart import parse_options_header

DICOM = "application/dicom"
DICOM_JSON = "application/dicom+json"
JSON = "application/json"
OCTETS = "application/octet-stream"
MULTIPART = "multipart/related"
# Proposals beyond this number are an attack or a mistake.
_RANGES_MAX = 32


@dataclass(frozen=True, slots=True)
class MediaRange:
    """One entry of an Accept header, lower case; of multipart/related the type of its parts.

    Attributes
    ----------
    transfer_syntax_uid
        As asked for; ``"*"`` for any, empty where the client said nothing.
    """

    media_type: str
    is_multipart: bool
    transfer_syntax_uid: str = ""

    def covers(self, media_type: str) -> bool:
        """Whether `media_type` is within this range."""
        kind, _, rest = self.media_type.partition("/")
        return (
            kind == "*"
            or self.media_type == media_type
            or (rest == "*" and media_type.startswith(f"{kind}/"))
        )


def accepted(header: str) -> tuple[MediaRange, ...]:
    """Entries of an Accept header in the client's order; a missing header accepts everything."""
    ranges = [_range(text) for text in _split(header)[:_RANGES_MAX] if text.strip()]
    return tuple(ranges) or (MediaRange("*/*", False), MediaRange("*/*", True))


def first_covering(
    ranges: Sequence[MediaRange], media_types: Sequence[str], *, multipart: bool
) -> MediaRange | None:
    """The first range that takes one of `media_types`, in parts of multipart/related or as a single body."""
    for one in ranges:
        if (one.is_multipart == multipart or one.media_type == "*/*") and any(map(one.covers, media_types)):
            return one
    return None


def content_type(header: str) -> tuple[str, dict[str, str]]:
    """A Content-Type header's type and parameters, names in lower case."""
    kind, parameters = parse_options_header(header)
    return kind.decode("latin-1").lower(), {
        name.decode("latin-1").lower(): value.decode("latin-1") for name, value in parameters.items()
    }


def _range(text: str) -> MediaRange:
    kind, parameters = content_type(text)
    syntax = parameters.get("transfer-syntax", "")
    if kind == MULTIPART:
        return MediaRange(parameters.get("type", "*/*").lower(), True, syntax)
    return MediaRange(kind, False, syntax)


def _split(header: str) -> list[str]:
    """The header at its commas, those inside quotation marks excepted."""
    parts, quoted, start = [], False, 0
    for position, character in enumerate(header):
        if character == '"':
            quoted = not quoted
        elif character == "," and not quoted:
            parts.append(header[start:position])
            start = position + 1
    return [*parts, header[start:]]
