"""A true statement about an image as a question and its answer, in RadVLM's forms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import numpy as np

from inference.prompts import spelled
from training.datasets.example import Example
from training.instructions import answers
from training.instructions.questions import Wording
from training.instructions.row import Row
from training.task import Task

Turns = tuple[tuple[str, str], ...]


def row_of(
    example: Example,
    identifier: str,
    *,
    source: str,
    image_root: Path | None = None,
    seed: int = 0,
    paraphrased_share: float = 0.0,
) -> Row:
    """Instruction row of one example.

    Parameters
    ----------
    identifier
        Id of the row; with `seed` it decides the wording, so the same row is always written alike.
    image_root
        Image paths are written relative to this folder; absolute without it, as RadVLM writes them.
    paraphrased_share
        Share of questions put in other words than the canonical ones, 0 to 1.
    """
    rng = np.random.default_rng([seed, crc32(identifier.encode())])
    image = example.image.relative_to(image_root) if image_root else example.image.absolute()
    return Row(
        identifier, image.as_posix(), example.task, _SPEAKERS[example.task](
            example, Wording(rng, paraphrased_share)
        ), example.labels, source, example.vocabulary or None,
    )  # fmt: skip


def questions_of(example: Example, wording: Wording) -> tuple[str, ...]:
    """The questions alone, in order: one, or those of a whole conversation."""
    return tuple(question for question, _ in _SPEAKERS[example.task](example, wording))


def _report(example: Example, wording: Wording) -> Turns:
    return ((wording.report(), example.report),)


def _classification(example: Example, wording: Wording) -> Turns:
    return ((wording.classification(), answers.classification(example.labels or ())),)


def _location(example: Example, wording: Wording) -> Turns:
    name = spelled(example.name)
    return ((wording.grounding(name), answers.location(name, example.boxes)),)


def _phrase(example: Example, wording: Wording) -> Turns:
    return ((wording.phrase(spelled(example.name)), answers.phrase(example.boxes)),)


def _detection(example: Example, wording: Wording) -> Turns:
    return ((wording.detection(), answers.detection(example.findings)),)


def _conversation(example: Example, wording: Wording) -> Turns:
    return example.turns


_SPEAKERS: dict[Task, Callable[[Example, Wording], Turns]] = {
    Task.REPORT: _report,
    Task.CLASSIFICATION: _classification,
    Task.ANATOMY: _location,
    Task.ABNORMALITY: _location,
    Task.PHRASE: _phrase,
    Task.DETECTION: _detection,
    Task.CONVERSATION: _conversation,
}
