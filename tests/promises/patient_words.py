"""Everything that names a patient in what a test sends, and where it may have leaked."""

from __future__ import annotations

import base64
import binascii
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

import psutil
from pydicom import Dataset, dcmread
from pydicom._uid_dict import UID_dictionary

from tests.brokers import lone_broker

_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")
_TEXTS = ("PatientID", "AccessionNumber", "PatientBirthDate")
# Shorter values are words of the language, or numbers that stand anywhere.
_SHORTEST = 6
_BASE64 = re.compile(r"[A-Za-z0-9+/]{24,}={0,2}")


def words_of(path: Path) -> set[str]:
    """Name, ID, birth date, accession number and UIDs of a file, as far as it can be read."""
    try:
        header = dcmread(path, force=True, stop_before_pixels=True)
    except Exception:  # a file made to break readers names nobody we could look for
        return set()
    found = {_text(header, keyword) for keyword in _TEXTS + _UIDS}
    found |= set(re.split(r"[\^= ]", _text(header, "PatientName")))
    return {word for word in found if len(word) >= _SHORTEST and word not in UID_dictionary}


def _text(header: Dataset, keyword: str) -> str:
    try:
        return str(header.get(keyword, "") or "")
    except Exception:  # malformed in any library's way
        return ""


def leaks(words: set[str], places: Mapping[str, str]) -> dict[str, list[str]]:
    """Which words stand in which places, base64 inside them decoded."""
    whole = {name: text + "\n" + "\n".join(_decoded(text)) for name, text in places.items()}
    found = {name: sorted(word for word in words if word in text) for name, text in whole.items()}
    return {name: there for name, there in found.items() if there}


def _decoded(text: str) -> Iterator[str]:
    for match in _BASE64.finditer(text):
        try:
            yield base64.b64decode(match.group(0) + "==").decode("utf-8", errors="replace")
        except (binascii.Error, ValueError):
            continue


class BrokerTap:
    """Every command a Redis broker gets, by its MONITOR."""

    def __init__(self, port: int) -> None:
        self.url = f"redis://127.0.0.1:{port}/0"
        self._said = bytearray()
        # MONITOR on a plain connection: a client library would have to understand each line.
        self._connection = socket.create_connection(("127.0.0.1", port))
        self._connection.sendall(b"MONITOR\r\n")
        self._thread = Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        with suppress(OSError):
            while data := self._connection.recv(1 << 16):
                self._said += data

    def close(self) -> None:
        """Stop listening."""
        self._connection.close()

    @property
    def text(self) -> str:
        """What was said so far, quotes and line ends as they were."""
        said = self._said.decode("utf-8", errors="replace")
        return said.replace('\\"', '"').replace("\\n", "\n")


@contextmanager
def tapped_broker(redis_server: Path, folder: Path) -> Iterator[BrokerTap]:
    """A broker of its own on a free loopback port."""
    with lone_broker(redis_server, folder) as port:
        tap = BrokerTap(port)
        yield tap
        tap.close()


def command_lines(process_id: int) -> str:
    """Command lines of a process and everything below it: what `ps` shows anybody."""
    parent = psutil.Process(process_id)
    return "\n".join(" ".join(each.cmdline()) for each in [parent, *parent.children(recursive=True)])
