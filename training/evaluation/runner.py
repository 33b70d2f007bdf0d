"""Asks a model everything in a manifest and keeps each raw answer; a stopped run goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.evaluation.manifest import Item, Manifest, file_sha256
from training.evaluation.suite import Answerer, Asked, ScoringAnswerer
from training.instructions.row import line_of
from training.task import Task

Answers = dict[str, tuple[str, ...]]
Probabilities = dict[str, dict[str, float]]


class OtherImage(ValueError):
    """An image is not the one the manifest was written for."""


def run_manifest(
    manifest: Manifest,
    answerer: Answerer,
    out: Path,
    *,
    image_root: Path,
    model: str,
    progress: Callable[[int], None] | None = None,
) -> Answers:
    """Answers by item, one text per question.

    `out` (JSONL) begins with the manifest's hash and the model's name; going on with another of either raises
    ValueError, so that one file never mixes two models. Items of one image are asked together.

    Raises
    ------
    OtherImage
        An image file's SHA-256 is not the manifest's.
    """
    answers = _begin(out, manifest.sha256, model)
    with out.open("a", encoding="utf-8") as lines:
        for image, group in groupby(manifest.items, key=lambda item: (item.image, item.sha256)):
            waiting = [item for item in group if item.identifier not in answers]
            if not waiting:
                continue
            pixels = _pixels(image_root / image[0], image[1])
            for item, said in _ask(answerer, pixels, waiting):
                answers[item.identifier] = said
                record: dict[str, Any] = {"id": item.identifier, "answers": said}
                if item.task is Task.CLASSIFICATION and isinstance(answerer, ScoringAnswerer):
                    record["probabilities"] = answerer.label_probabilities(pixels)
                lines.write(line_of(record))
            lines.flush()
            if progress:
                progress(len(answers))
    return answers


def probabilities_of(out: Path) -> Probabilities:
    """Probabilities by label that were written beside answers about labels, by item; empty where none were."""
    with out.open(encoding="utf-8") as lines:
        records = [json.loads(line) for line in islice(lines, 1, None)]
    return {one["id"]: one["probabilities"] for one in records if "probabilities" in one}


def _begin(out: Path, manifest_sha256: str, model: str) -> Answers:
    head = {"manifest": manifest_sha256, "model": model}
    if not out.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(line_of(head), encoding="utf-8")
        return {}
    whole = [
        line for line in out.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")
    ]
    if not whole or json.loads(whole[0]) != head:
        raise ValueError(
            f"{out} holds the answers of another model or manifest: give another --out or remove it"
        )
    out.write_text("".join(whole), encoding="utf-8")
    records = map(json.loads, whole[1:])
    return {record["id"]: tuple(record["answers"]) for record in records}


def _pixels(path: Path, sha256: str) -> NDArray[np.uint8]:
    if file_sha256(path) != sha256:
        raise OtherImage(f"{path} is not the image the manifest was written for")
    with Image.open(path) as file:
        return np.asarray(file.convert("L"))


def _ask(
    answerer: Answerer, pixels: NDArray[np.uint8], items: Sequence[Item]
) -> Iterator[tuple[Item, tuple[str, ...]]]:
    """Single questions in one go; conversations turn by turn, each after the model's own earlier answers."""
    single = [item for item in items if len(item.prompts) == 1]
    said = answerer.answers(pixels, [Asked(item.prompts[0]) for item in single])
    yield from ((item, (text,)) for item, text in zip(single, said, strict=True))
    for item in items:
        if len(item.prompts) > 1:
            history: tuple[tuple[str, str], ...] = ()
            for prompt in item.prompts:
                (text,) = answerer.answers(pixels, [Asked(prompt, history)])
                history = (*history, (prompt, text))
            yield item, tuple(text for _, text in history)
