"""A frozen evaluation set: every question, its image's hash and its truth, written once.

RadVLM's own evaluation draws wordings and regions without a seed, so its exact questions cannot be repeated; a
manifest can. Its SHA-256 stands beside every score that was measured on it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any
from zlib import crc32

import numpy as np

from inference.box_text import FractionBox
from training.datasets.catalogue import Part, Roots, examples_of
from training.datasets.example import Example, Finding
from training.instructions.questions import Wording
from training.instructions.row import line_of
from training.instructions.speaking import questions_of
from training.task import Task

# The labels a VinDr-CXR image can be asked about in vain: the local labels of the published list.
_NEGATIVES_FROM = {Task.ABNORMALITY}


@dataclass(frozen=True, slots=True)
class Item:
    """One image's question and truth.

    Parameters
    ----------
    group
        Part of the composition the item belongs to; scores are given by group.
    prompts
        Questions in order; more than one only in conversations, where each is asked after the model's own
        earlier answers.
    sha256
        Of the image file, so that a score says which pixels it was measured on.
    absent
        The finding asked for is not there: any box is a false one. Not part of RadVLM's own suite.
    """

    identifier: str
    group: str
    task: Task
    image: str
    sha256: str
    patient: str
    prompts: tuple[str, ...]
    name: str = ""
    boxes: tuple[FractionBox, ...] = ()
    findings: tuple[Finding, ...] = ()
    labels: tuple[str, ...] | None = None
    vocabulary: tuple[str, ...] = ()
    reference: tuple[str, ...] = ()
    absent: bool = False


@dataclass(frozen=True, slots=True)
class Manifest:
    """Items in order, and the SHA-256 of the file they were read from."""

    items: tuple[Item, ...]
    sha256: str


def build_manifest(
    parts: Sequence[Part],
    roots: Roots,
    path: Path,
    *,
    image_root: Path,
    seed: int = 0,
    paraphrased_share: float = 0.0,
    progress: Callable[[str, int], None] | None = None,
) -> Manifest:
    """Write the test split of every part whose archives are given; returns what was written.

    Samples beyond the published number of a part are left out at random (`seed`), as are wordings other than
    the canonical ones with `paraphrased_share` 0.
    """
    fresh = path.with_name(path.name + ".part")
    with fresh.open("w", encoding="utf-8") as lines:
        for part in parts:
            if part.published_eval is None or any(root not in roots for root in part.roots):
                continue
            chosen = _chosen(list(examples_of(part, roots, "test", seed=seed)), part.published_eval, seed)
            for count, item in enumerate(_items(part, chosen, image_root, seed, paraphrased_share), start=1):
                lines.write(line_of(_to_json(item)))
                if progress:
                    progress(part.name, count)
    fresh.replace(path)
    return read_manifest(path)


def _chosen(examples: list[Example], count: int, seed: int) -> list[Example]:
    if len(examples) <= count:
        return examples
    kept = sorted(Random(seed).sample(range(len(examples)), count))
    return [examples[index] for index in kept]


def _items(
    part: Part, examples: Sequence[Example], image_root: Path, seed: int, paraphrased_share: float
) -> Iterator[Item]:
    group = part.name.removesuffix("-train")
    names = sorted({example.name for example in examples}) if part.task in _NEGATIVES_FROM else []
    present: dict[Path, set[str]] = {}
    for example in examples:
        present.setdefault(example.image, set()).add(example.name)
    asked_in_vain: set[Path] = set()
    for number, example in enumerate(examples):
        identifier = f"{group}_{number}"
        rng = np.random.default_rng([seed, crc32(identifier.encode())])
        wording = Wording(rng, paraphrased_share)
        yield _item(example, identifier, group, image_root, questions_of(example, wording))
        others = [name for name in names if name not in present[example.image]]
        if others and example.image not in asked_in_vain:
            asked_in_vain.add(example.image)
            name = others[int(rng.integers(len(others)))]
            absent = Example(part.task, example.image, example.patient, name=name)
            prompts = questions_of(absent, wording)
            yield _item(absent, f"{identifier}_absent", group, image_root, prompts, absent=True)


def _item(
    example: Example, identifier: str, group: str, image_root: Path, prompts: tuple[str, ...], *,
    absent: bool = False,
) -> Item:  # fmt: skip
    reference = tuple(answer for _, answer in example.turns) or ((example.report,) if example.report else ())
    return Item(
        identifier, group, example.task, example.image.relative_to(image_root).as_posix(),
        file_sha256(example.image), example.patient, prompts, example.name, example.boxes, example.findings,
        example.labels, example.vocabulary, reference, absent,
    )  # fmt: skip


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _to_json(item: Item) -> dict[str, Any]:
    return asdict(item)


def read_manifest(path: Path) -> Manifest:
    """Manifest of a file; raises ValueError naming the line that is not an item."""
    items = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                items.append(_from_json(json.loads(line)))
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(f"{path}, line {number} is not an item of a manifest: {error}") from None
    return Manifest(tuple(items), file_sha256(path))


def _from_json(record: dict[str, Any]) -> Item:
    labels = record["labels"]
    told: dict[str, Any] = {
        **record,
        "task": Task(record["task"]),
        "boxes": _boxes(record["boxes"]),
        "findings": tuple((name, _boxes(boxes)) for name, boxes in record["findings"]),
        "labels": None if labels is None else tuple(labels),
        **{key: tuple(record[key]) for key in ("prompts", "vocabulary", "reference")},
    }
    return Item(**told)


def _boxes(written: Sequence[Sequence[float]]) -> tuple[FractionBox, ...]:
    return tuple((x1, y1, x2, y2) for x1, y1, x2, y2 in written)
