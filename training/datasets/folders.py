"""Where an archive's files lie: several published spellings of one folder, plain or gzipped tables."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any


class MissingData(FileNotFoundError):
    """A file or folder of a data set is not where its archive puts it; the text says what was looked for."""


def first_existing(root: Path, *names: str) -> Path:
    """The first of `names` below `root`; raises MissingData naming all of them.

    Folder names drifted between the data sets' releases and RadVLM's own scripts, so several are accepted.
    """
    for name in names:
        if (root / name).exists():
            return root / name
    raise MissingData(f"none of {', '.join(names)} in {root}")


def read_table(root: Path, *names: str) -> Iterator[dict[str, str]]:
    """Rows of the first CSV file of `names` below `root`, streamed; `name.csv.gz` is taken for `name.csv` too."""
    spelled = [variant for name in names for variant in (name, f"{name}.gz")]
    path = first_existing(root, *spelled)
    with _opened(path) as lines:
        yield from csv.DictReader(lines)


def _opened(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


def read_json(path: Path) -> Any:
    """Content of a JSON file; raises MissingData where there is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingData(f"{path} is missing") from None


def one_line(text: str) -> str:
    """`text` with every run of white space as one blank."""
    return " ".join(text.split())
