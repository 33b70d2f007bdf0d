"""RadVLM's instruction data written from the public data sets: streamed, and gone on with after a kill."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import IO

from training.datasets.catalogue import Part, Roots, examples_of
from training.datasets.folders import MissingData
from training.instructions.row import ROWS_FILE, line_of
from training.instructions.speaking import row_of

RESUME_FILE = "resume.json"
ROWS_PER_CHECKPOINT = 2000
NOT_GIVEN = "not given"


class OtherSettings(ValueError):
    """The folder was begun with other settings; going on would mix two data sets."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What decides the bytes of `instructions.jsonl`; a folder begun with others is not gone on with."""

    roots: Roots
    split: str = "train"
    image_root: Path | None = None
    seed: int = 0
    paraphrased_share: float = 0.5
    radvlm_compat: bool = False

    def digest(self, parts: tuple[Part, ...]) -> str:
        """SHA-256 over the settings and the names of the parts."""
        told = [*sorted((key.value, str(path)) for key, path in self.roots.items()), self.split,
                str(self.image_root), self.seed, self.paraphrased_share, self.radvlm_compat,
                [part.name for part in parts]]  # fmt: skip
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()


@dataclass(slots=True)
class _Progress:
    """How far the file is whole: `unit` counts (part, repetition) pairs, `examples` those written of this one."""

    digest: str
    unit: int = 0
    examples: int = 0
    bytes: int = 0

    def save(self, path: Path) -> None:
        fresh = path.with_suffix(".tmp")
        fresh.write_text(json.dumps(asdict(self)), encoding="utf-8")
        os.replace(fresh, path)


@dataclass(frozen=True, slots=True)
class Counted:
    """One part in the summary: rows published (all repetitions) and rows found; `note` where none were built."""

    part: Part
    published: int | None
    found: int
    note: str = ""


def build_instructions(
    parts: tuple[Part, ...],
    settings: Settings,
    out: Path,
    *,
    progress: Callable[[str, int], None] | None = None,
) -> list[Counted]:
    """Write `instructions.jsonl` into `out`; returns the summary, part by part.

    A killed run is gone on with by calling again: `resume.json` says up to which byte the file is whole, and
    the result is the same to the byte. A part whose archive is not given, or lacks a file, is left out and
    says so. `progress` is called with a part's name and its rows so far.

    Raises
    ------
    OtherSettings
        `out` holds a run with other settings.
    """
    out.mkdir(parents=True, exist_ok=True)
    state = _begin(out, settings.digest(parts))
    notes: dict[str, str] = {}
    with (out / ROWS_FILE).open("r+b" if (out / ROWS_FILE).exists() else "w+b") as rows:
        rows.truncate(state.bytes)
        rows.seek(state.bytes)
        for unit, (part, repetition) in enumerate(_units(parts)):
            if unit < state.unit:
                continue
            try:
                for line in _lines(part, repetition, settings, skip=state.examples):
                    rows.write(line)
                    state.examples += 1
                    if state.examples % ROWS_PER_CHECKPOINT == 0:
                        _checkpoint(rows, state, out)
                        if progress:
                            progress(part.name, state.examples)
            except MissingData as missing:
                notes[part.name] = str(missing)
            state.unit, state.examples = unit + 1, 0
            _checkpoint(rows, state, out)
    return _summary(parts, settings, out, notes)


def _begin(out: Path, digest: str) -> _Progress:
    path = out / RESUME_FILE
    if not path.exists():
        return _Progress(digest)
    state = _Progress(**json.loads(path.read_text(encoding="utf-8")))
    if state.digest != digest:
        raise OtherSettings(f"{out} was begun with other settings: give another --out or remove it")
    return state


def _units(parts: tuple[Part, ...]) -> Iterator[tuple[Part, int]]:
    for part in parts:
        for repetition in range(1, part.repeats + 1):
            yield part, repetition


def _lines(part: Part, repetition: int, settings: Settings, *, skip: int) -> Iterator[bytes]:
    if any(root not in settings.roots for root in part.roots):
        return
    examples = examples_of(
        part, settings.roots, settings.split, radvlm_compat=settings.radvlm_compat, seed=settings.seed
    )
    prefix = f"{part.name}{repetition}" if part.repeats > 1 else part.name
    for number, example in islice(enumerate(examples), skip, None):
        row = row_of(
            example, f"{prefix}_{number}", source=part.source, image_root=settings.image_root,
            seed=settings.seed, paraphrased_share=settings.paraphrased_share,
        )  # fmt: skip
        yield line_of(row.to_json()).encode()


def _checkpoint(rows: IO[bytes], state: _Progress, out: Path) -> None:
    rows.flush()
    os.fsync(rows.fileno())
    state.bytes = rows.tell()
    state.save(out / RESUME_FILE)


def _summary(parts: tuple[Part, ...], settings: Settings, out: Path, notes: dict[str, str]) -> list[Counted]:
    """Counted from the file itself, so that the table is true after a resumed run too."""
    found: dict[str, int] = dict.fromkeys((part.name for part in parts), 0)
    with (out / ROWS_FILE).open(encoding="utf-8") as lines:
        for line in lines:
            prefix = json.loads(line)["id"].rpartition("_")[0]
            found[prefix if prefix in found else prefix.rstrip("0123456789")] += 1
    training = settings.split == "train"
    counted = []
    for part in parts:
        missing = [root.value for root in part.roots if root not in settings.roots]
        note = f"{', '.join(missing)} {NOT_GIVEN}" if missing else notes.get(part.name, "")
        published = part.published_pairs * part.repeats if training else part.published_eval
        counted.append(Counted(part, published, found[part.name], note))
    return counted
