"""multipart/related in both directions (RFC 2387): read as it streams in, written as it streams out."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser

from clinical import Permanent


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a request; `content` is None where it had more bytes than are taken."""

    content: bytearray | None


class PartReader:
    """Splits a body into its parts while it arrives, holding one part at a time.

    Parameters
    ----------
    boundary
        Of the Content-Type header.
    part_bytes_max
        A longer part is passed over; the others are read all the same.

    Raises
    ------
    Permanent
        ``multipart-malformed`` for a boundary that is none.
    """

    def __init__(self, boundary: str, *, part_bytes_max: int) -> None:
        self._part_bytes_max = part_bytes_max
        self._content = bytearray()
        self._is_too_long = False
        self._finished: list[Part] = []
        self.is_complete = False
        try:
            self._parser = MultipartParser(
                boundary.encode("latin-1"),
                {
                    "on_part_begin": self._begin,
                    "on_part_data": self._data,
                    "on_part_end": self._end,
                    "on_end": self._end_of_all,
                },
            )
        except (MultipartParseError, ValueError, UnicodeEncodeError) as error:
            raise _malformed() from error

    def feed(self, piece: bytes) -> list[Part]:
        """Take the next bytes of the body; the parts that ended in them.

        Raises
        ------
        Permanent
            ``multipart-malformed``.
        """
        try:
            self._parser.write(piece)
        except MultipartParseError as error:
            raise _malformed() from error
        finished, self._finished = self._finished, []
        return finished

    def _begin(self) -> None:
        self._content, self._is_too_long = bytearray(), False

    def _data(self, data: bytes, start: int, end: int) -> None:
        if len(self._content) + end - start > self._part_bytes_max:
            self._content, self._is_too_long = bytearray(), True
        if not self._is_too_long:
            self._content += memoryview(data)[start:end]

    def _end(self) -> None:
        self._finished.append(Part(None if self._is_too_long else self._content))
        self._content = bytearray()

    def _end_of_all(self) -> None:
        self.is_complete = True


def _malformed() -> Permanent:
    return Permanent("multipart-malformed", "the request's body is no multipart/related with that boundary")


class Multipart:
    """A body to send: parts of one type, each made when its turn comes.

    Attributes
    ----------
    media_type
        For the Content-Type header.
    """

    def __init__(self, part_type: str, parts: Iterable[tuple[str, Iterable[bytes]]]) -> None:
        self._boundary = secrets.token_hex(16)
        self._parts = parts
        self.media_type = f'multipart/related; type="{part_type}"; boundary={self._boundary}'

    def __iter__(self) -> Iterator[bytes]:
        for content_type, pieces in self._parts:
            yield f"--{self._boundary}\r\nContent-Type: {content_type}\r\n\r\n".encode("latin-1")
            yield from pieces
            yield b"\r\n"
        yield f"--{self._boundary}--\r\n".encode("latin-1")
