"""Segments and fields of an HL7 version 2 message, by their numbers (chapter 2.5)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from clinical import Permanent
from hl7_fhir.v2.charset import decode, escape, unescape

FIELD, COMPONENT, REPETITION, ESCAPE, SUBCOMPONENT = "|", "^", "~", "\\", "&"
ENCODING_CHARACTERS = COMPONENT + REPETITION + ESCAPE + SUBCOMPONENT
_LARGEST_MESSAGE = 64 << 20


def components(*parts: str | Sequence[str]) -> str:
    """A field of components; a part that is a sequence is one of subcomponents. Empty ends are left out."""
    written = [
        escape(part) if isinstance(part, str) else SUBCOMPONENT.join(map(escape, part)).rstrip(SUBCOMPONENT)
        for part in parts
    ]
    return COMPONENT.join(written).rstrip(COMPONENT)


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment as it stands in the message: its name and its encoded fields, field 1 first.

    MSH-1 is the field separator itself, so that MSH-n has number n here too (2.15.9.1).
    """

    name: str
    fields: tuple[str, ...]

    def raw(self, number: int) -> str:
        """Field `number` as encoded; empty where there is none."""
        return self.fields[number - 1] if 0 < number <= len(self.fields) else ""

    def component(self, number: int, part: int = 1, sub: int = 1, repetition: int = 1) -> str:
        """One value of field `number`, its escapes undone; empty where there is none."""
        value = _part(self.raw(number), REPETITION, repetition)
        return unescape(_part(_part(value, COMPONENT, part), SUBCOMPONENT, sub))

    def repetitions(self, number: int) -> int:
        """How often field `number` is repeated."""
        raw = self.raw(number)
        return raw.count(REPETITION) + 1 if raw else 0

    def with_raw(self, changed: Mapping[int, str]) -> Segment:
        """A copy with some fields replaced."""
        longest = max(len(self.fields), *changed)
        return replace(
            self, fields=tuple(changed.get(number, self.raw(number)) for number in range(1, longest + 1))
        )

    def __str__(self) -> str:
        fields = list(self.fields)
        while fields and not fields[-1]:
            fields.pop()
        if self.name == "MSH":
            return f"MSH{FIELD}{FIELD.join(fields[1:])}"
        return FIELD.join([self.name, *fields])


def segment(name: str, fields: Mapping[int, str]) -> Segment:
    """A segment of encoded fields by their numbers."""
    return Segment(name, tuple(fields.get(number, "") for number in range(1, max(fields) + 1)))


def _part(value: str, separator: str, number: int) -> str:
    parts = value.split(separator)
    return parts[number - 1] if number <= len(parts) else ""


@dataclass(frozen=True, slots=True)
class Message:
    """A message: its segments in order."""

    segments: tuple[Segment, ...]

    def first(self, name: str) -> Segment:
        """The first segment of a name; an empty one where there is none."""
        return next(self.all(name), Segment(name, ()))

    def all(self, name: str) -> Iterator[Segment]:
        """Every segment of a name."""
        return (each for each in self.segments if each.name == name)

    @property
    def control_id(self) -> str:
        """MSH-10."""
        return self.first("MSH").component(10)

    @property
    def type(self) -> str:
        """MSH-9.1 and 9.2, such as ``ORU^R01``."""
        header = self.first("MSH")
        return f"{header.component(9)}^{header.component(9, 2)}"

    def __str__(self) -> str:
        # 2.5.4: carriage return, nothing else, ends a segment, the last one too.
        return "".join(f"{each}\r" for each in self.segments)


def parse_message(data: bytes) -> Message:
    """Read a message with the delimiters RadDraft itself uses, which are HL7's recommended ones.

    Raises
    ------
    Permanent
        ``not-hl7`` if it does not begin with such an MSH segment.
    """
    # 0x0B and 0x1C frame messages: one that holds them is two, or half of one.
    framing = b"\x0b" in data or b"\x1c" in data
    if framing or not data.startswith(b"MSH|^~\\&") or len(data) > _LARGEST_MESSAGE:
        raise Permanent("not-hl7", "what arrived is no HL7 message with the recommended delimiters")
    header = data.split(b"\r", 1)[0].split(b"|")
    charset = header[17].split(b"~")[0].decode("ascii", errors="replace") if len(header) > 17 else ""
    lines = decode(data, charset.strip()).replace("\n", "\r").split("\r")
    return Message(tuple(_segment(line) for line in lines if len(line) > 3))


def readable(data: bytes) -> str:
    """A message of ours for the eye: every character as it is, and ``<CR>`` with a new line where a segment ends."""
    charset = parse_message(data).first("MSH").raw(18)
    return decode(data, charset).replace("\r", "<CR>\n")


def _segment(line: str) -> Segment:
    name, *fields = line.split(FIELD)
    return Segment(name, (FIELD, *fields) if name == "MSH" else tuple(fields))
