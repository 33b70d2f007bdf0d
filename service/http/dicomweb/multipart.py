"""multipart/related in both directions (RFC 2387): read as it streams in, written as it streams out."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser

from clinical import Permanent


@dataclass(frozen=True, slots=True)
class Piece:
    """Some bytes of a part of a request, in their order; `is_last` ends the part."""

    content: bytes
    is_last: bool = False


class PartReader:
    """Splits a body into its parts while it arrives, holding none of them.

    Parameters
    ----------
    boundary
        Of the Content-Type header.

    Raises
    ------
    Permanent
        ``multipart-malformed`` for a boundary that is none.
    """

    def __init__(self, boundary: str) -> None:
        self._pieces: list[Piece] = []
        self.is_complete = False
        try:
            self._parser = MultipartParser(
                boundary.encode("latin-1"),
                {"on_part_data": self._data, "on_part_end": self._end, "on_end": self._end_of_all},
            )
        except (MultipartParseError, ValueError, UnicodeEncodeError) as error:
            raise _malformed() from error

    def feed(self, content: bytes) -> list[Piece]:
        """Take the next bytes of the body; what they are of which part.

        Raises
        ------
        Permanent
            ``multipart-malformed``.
        """
        try:
            self._parser.write(content)
        except MultipartParseError as error:
            raise _malformed() from error
        pieces, self._pieces = self._pieces, []
        return pieces

    def _data(self, content: bytes, start: int, end: int) -> None:
        self._pieces.append(Piece(content[start:end]))

    def _end(self) -> None:
        self._pieces.append(Piece(b"", is_last=True))

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
