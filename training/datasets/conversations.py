"""Conversations about images, one JSON file per image, as RadVLM's scripts keep them.

`[{"from": "human", "value": ...}, {"from": "gpt", "value": ...}, ...]`. MIMIC-CXR's lie below
`conversations/SPLIT/{standard,grounding}` (earlier: `conversations_SPLIT`, `conversations_SPLIT_grounding`),
PadChest-GR's below `conversations_SPLIT_grounding_padchest`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from training.datasets.example import Example
from training.datasets.folders import first_existing, read_json
from training.datasets.mimic import frontal_images
from training.datasets.padchest import grounded_images
from training.task import Task


def plain(mimic_root: Path, split: str) -> Iterator[Example]:
    """Conversations without boxes about MIMIC-CXR images."""
    folder = first_existing(mimic_root, f"conversations/{split}/standard", f"conversations_{split}")
    yield from _of_mimic(mimic_root, split, folder)


def grounded(mimic_root: Path, split: str) -> Iterator[Example]:
    """Conversations with boxes about the MIMIC-CXR images that MS-CXR grounds."""
    folder = first_existing(
        mimic_root, f"conversations/{split}/grounding", f"conversations_{split}_grounding"
    )
    yield from _of_mimic(mimic_root, split, folder)


def grounded_padchest(root: Path, split: str) -> Iterator[Example]:
    """Conversations with boxes about PadChest-GR images; those of train and validation share one folder."""
    named = "train" if split == "valid" else split
    folder = first_existing(
        root, f"conversations_{named}_grounding_padchest", f"conversations/{named}/grounding"
    )
    images = ((image, patient, image.stem) for image, patient, _ in grounded_images(root, split))
    yield from _with_files(folder, images)


def _of_mimic(root: Path, split: str, folder: Path) -> Iterator[Example]:
    images = ((image.path(root), image.subject_id, image.dicom_id) for image in frontal_images(root, split))
    yield from _with_files(folder, images)


def _with_files(folder: Path, images: Iterable[tuple[Path, str, str]]) -> Iterator[Example]:
    for image, patient, stem in images:
        path = folder / f"{stem}.json"
        if path.exists():
            yield Example(Task.CONVERSATION, image, patient, turns=turns_of(read_json(path)))


def turns_of(spoken: list[dict[str, Any]]) -> tuple[tuple[str, str], ...]:
    """Questions and answers in order; raises ValueError where they do not alternate."""
    pairs = list(zip(spoken[::2], spoken[1::2], strict=True))
    if any(asked["from"] != "human" or said["from"] != "gpt" for asked, said in pairs):
        raise ValueError("questions and answers do not alternate")
    return tuple((asked["value"], said["value"]) for asked, said in pairs)
