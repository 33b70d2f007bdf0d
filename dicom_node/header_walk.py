"""A walk over the top-level elements of an encoded data set, in bounded memory and bounded time.

A general parser builds an object per sequence item, so that a few megabytes of empty items become gigabytes. The
association thread meets whatever a peer sends: it looks at element headers only, copies no value and does not recurse.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct

from clinical import Quarantine

_ITEM = 0xFFFEE000
_ITEM_END = 0xFFFEE00D
_SEQUENCE_END = 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_SHORT_HEADER_BYTES = 8
_LONG_HEADER_BYTES = 12
# PS3.5 Table 7.1-1: explicit VRs with two reserved bytes and a length of 32 bits.
_LONG_VRS = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)
# Objects that refer to thousands of images have some 20 000 elements before the UIDs' group ends; an attack has more.
_HEADERS_MAX = 200_000


# A data set as it travels, in memory or mapped from a file.
Encoded = bytes | memoryview


@dataclass(frozen=True, slots=True)
class Encoding:
    """How element headers are written (PS3.5 section 7.1)."""

    explicit_vr: bool
    little_endian: bool


@dataclass(frozen=True, slots=True)
class Element:
    """A top-level element: where its value lies in the data set, in bytes.

    Attributes
    ----------
    length
        None where it is undefined: a sequence or encapsulated pixels, walked over by its delimiters.
    """

    tag: int
    start: int
    length: int | None


def sniffed_encoding(dataset: Encoded, declared: Encoding | None) -> Encoding:
    """The encoding a data set really has, judged by its first element.

    Parameters
    ----------
    declared
        What the transfer syntax says; None where the syntax is private or unknown.
    """
    vr = bytes(dataset[4:6])
    explicit_vr = vr.isalpha() and vr.isupper()
    if declared is not None:
        # Senders are known to mistake the VR encoding, but not the byte order.
        return Encoding(explicit_vr, declared.little_endian)
    group = bytes(dataset[0:2])
    # Groups at the start of a data set are small numbers: the reading with the smaller one is right.
    return Encoding(explicit_vr, int.from_bytes(group, "little") <= int.from_bytes(group, "big"))


def walk_headers(dataset: Encoded, encoding: Encoding) -> Iterator[Element]:
    """Top-level elements in their order, until the data set ends or is cut off.

    Raises
    ------
    Quarantine
        ``header-malformed`` where delimiters do not match, ``header-too-large`` beyond 200 000 elements.
    """
    # Open sequences and, at odd depths, open items: only those of undefined length need to be walked through.
    depth = 0
    position = 0
    read_header = _HeaderReader(dataset, encoding)
    for _ in range(_HEADERS_MAX):
        inside_sequence = depth % 2 == 1
        header = read_header(position, inside_sequence)
        if header is None:
            return
        tag, start, length = header
        position = start
        if inside_sequence:
            depth, position = _step_in_sequence(depth, tag, start, length)
        elif tag == _ITEM_END and depth > 0:
            depth -= 1
        elif tag >> 16 == _ITEM >> 16:
            raise _malformed()
        else:
            undefined = length == _UNDEFINED
            if depth == 0:
                yield Element(tag, start, None if undefined else length)
            depth += undefined
            position += 0 if undefined else length
    raise Quarantine("header-too-large", "the data set has more elements than any real object")


def _step_in_sequence(depth: int, tag: int, start: int, length: int) -> tuple[int, int]:
    """Depth and position after an item's header or a sequence's end (PS3.5 section 7.5)."""
    if tag == _SEQUENCE_END:
        return depth - 1, start
    if tag != _ITEM:
        raise _malformed()
    if length == _UNDEFINED:
        return depth + 1, start
    return depth, start + length


class _HeaderReader:
    """Reads one element header at a time."""

    def __init__(self, dataset: Encoded, encoding: Encoding) -> None:
        order = "<" if encoding.little_endian else ">"
        self._dataset = dataset
        self._explicit_vr = encoding.explicit_vr
        self._implicit = Struct(f"{order}HHL").unpack_from
        self._explicit = Struct(f"{order}HH2sH").unpack_from
        self._length32 = Struct(f"{order}L").unpack_from

    def __call__(self, position: int, delimiter: bool) -> tuple[int, int, int] | None:
        """Tag, start of value, length; None at the data set's end. Delimiters have no VR (PS3.5 section 7.5)."""
        if len(self._dataset) - position < _SHORT_HEADER_BYTES:
            return None
        if delimiter or not self._explicit_vr:
            group, element, length = self._implicit(self._dataset, position)
            return group << 16 | element, position + _SHORT_HEADER_BYTES, length
        group, element, vr, length = self._explicit(self._dataset, position)
        if vr in _LONG_VRS:
            if len(self._dataset) - position < _LONG_HEADER_BYTES:
                return None
            (length,) = self._length32(self._dataset, position + _SHORT_HEADER_BYTES)
            return group << 16 | element, position + _LONG_HEADER_BYTES, length
        if not (vr.isalpha() and vr.isupper()):
            # No VR: an item's end, or a sender that falls back to implicit VR inside a sequence.
            group, element, length = self._implicit(self._dataset, position)
        return group << 16 | element, position + _SHORT_HEADER_BYTES, length


def _malformed() -> Quarantine:
    return Quarantine("header-malformed", "sequence delimiters of the data set do not match")
