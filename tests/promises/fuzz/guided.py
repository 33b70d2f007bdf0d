"""Looks for bytes that a parser of the receive path neither reads nor refuses, guided by the code they reach (Atheris).

    python -m tests.promises.fuzz.guided FOLDER [libFuzzer's options, e.g. -max_total_time=900]

`FOLDER` collects inputs that reach new code; it begins with the corpus of the tests. A find is printed and written into
the working directory as ``crash-*``. ``--keep FOLDER`` puts what FOLDER reaches beyond the corpus, made small, into the
corpus of found inputs, which the tests play ever after.
"""

from __future__ import annotations

import hashlib
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import atheris  # type: ignore[import-not-found,unused-ignore]

# The code whose branches guide; what is imported before is not seen.
with atheris.instrument_imports(
    include=[
        "dicom_node",
        "service.http.dicomweb",
        "pynetdicom.pdu",
        "pynetdicom.pdu_items",
        "python_multipart",
    ]
):
    from tests.promises.fuzz.parsers import PARSERS, association, conversation, dataset, parse
from tests.promises.fuzz.write_corpus import CORPUS

FOUND = CORPUS.parent / "found"
# More would make the repository and the tests heavier, not better.
_KEPT_MAX = 150
_KEPT_BYTES_MAX = 2048
_GUIDING_FILES = ("dicom_node", "dicomweb/multipart", "pynetdicom/pdu", "python_multipart")


def seeds() -> list[bytes]:
    """The corpus of the tests, for the parsers that take such input."""
    made = []
    for path in sorted(CORPUS.glob("*.bin")):
        content = path.read_bytes()
        if path.name.startswith("dataset"):
            made += [bytes((PARSERS.index(dataset), syntax)) + content for syntax in range(6)]
        else:
            made.append(bytes((PARSERS.index(conversation),)) + content)
            made.append(bytes((PARSERS.index(association),)) + content[6:])
    return made + [path.read_bytes() for path in sorted(FOUND.glob("*.bin"))]


def _look(folder: Path, options: list[str]) -> None:
    # The libraries warn of every value they dislike, thousands a second.
    warnings.simplefilter("ignore")
    folder.mkdir(parents=True, exist_ok=True)
    for content in seeds():
        (folder / hashlib.sha256(content).hexdigest()[:16]).write_bytes(content)
    # Far more than any input takes; a loaded machine may stand still for a second.
    bounds = ["-timeout=10", "-rss_limit_mb=600", "-max_len=4096"]
    atheris.Setup([sys.argv[0], *bounds, *options, str(folder)], parse)
    atheris.Fuzz()


class _Arcs:
    """Steps from line to line in the code that guides, of one input after the other."""

    def __init__(self) -> None:
        self.seen: set[tuple[str, int, int]] = set()

    def are_new(self, data: bytes) -> bool:
        """Whether an input takes a step that none before it took."""
        before = len(self.seen)
        sys.settrace(self._entered)
        try:
            parse(data)
        finally:
            sys.settrace(None)
        return len(self.seen) > before

    def _entered(self, frame: FrameType, event: str, argument: object) -> Callable[..., Any] | None:
        name = frame.f_code.co_filename
        if not any(part in name for part in _GUIDING_FILES):
            return None
        last = 0

        def stepped(frame: FrameType, event: str, argument: object) -> Callable[..., Any]:
            nonlocal last
            self.seen.add((name, last, frame.f_lineno))
            last = frame.f_lineno
            return stepped

        return stepped


def _keep(folder: Path) -> None:
    arcs = _Arcs()
    for content in seeds():
        arcs.are_new(content)
    inputs = sorted((path.read_bytes() for path in folder.iterdir()), key=len)
    new = [data for data in inputs if len(data) <= _KEPT_BYTES_MAX and arcs.are_new(data)]
    FOUND.mkdir(exist_ok=True)
    for data in new[:_KEPT_MAX]:
        (FOUND / f"{hashlib.sha256(data).hexdigest()[:16]}.bin").write_bytes(data)
    print(f"{len(new)} inputs take new steps; {min(len(new), _KEPT_MAX)} kept in {FOUND}")


if __name__ == "__main__":
    if sys.argv[1] == "--keep":
        _keep(Path(sys.argv[2]))
    else:
        _look(Path(sys.argv[1]), sys.argv[2:])
