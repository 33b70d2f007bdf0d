"""Instruction rows about phantoms: one row per question or conversation about one image."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from inference.prompts import spelled
from training.datasets.example import Finding
from training.instructions import answers, sentences
from training.instructions.conversation import Turn, converse
from training.instructions.questions import Wording
from training.instructions.row import ROWS_FILE, Row, line_of
from training.phantoms import Truth
from training.phantoms.collection import Entry, read_collection
from training.task import Task

CONVERSATIONS_PER_IMAGE = 2


def rows_of(entry: Entry) -> Iterator[Row]:
    """All rows about one phantom; the same phantom gives the same rows."""
    truth, rng = entry.truth, np.random.default_rng([entry.truth.seed, 77])
    wording = Wording(rng)
    for number, (task, turns) in enumerate(_tasks(truth, rng, wording)):
        spoken = tuple((turn.question, turn.answer) for turn in turns)
        yield Row(f"phantom-{truth.seed}-{number}", entry.image, task, spoken, truth.labels)


def _tasks(
    truth: Truth, rng: np.random.Generator, wording: Wording
) -> Iterator[tuple[Task, tuple[Turn, ...]]]:
    yield Task.REPORT, (Turn(wording.report(), sentences.report(truth)),)
    yield Task.CLASSIFICATION, (Turn(wording.classification(), answers.classification(truth.labels)),)
    yield Task.DETECTION, (Turn(wording.detection(), answers.detection(_boxed(truth))),)
    for name, box in truth.regions.items():
        yield Task.ANATOMY, (Turn(wording.grounding(name), answers.location(name, [box])),)
    for finding in truth.findings:
        name = finding.label.value.lower()
        yield Task.ABNORMALITY, (Turn(wording.grounding(name), answers.location(name, finding.boxes)),)
        other = spelled(finding.vindr)
        if other and other != name:
            yield Task.ABNORMALITY, (Turn(wording.grounding(other), answers.location(other, finding.boxes)),)
        for sentence, boxes in sentences.phrases(truth, finding):
            yield Task.PHRASE, (Turn(wording.phrase(sentence), answers.phrase(boxes)),)
    for _ in range(CONVERSATIONS_PER_IMAGE):
        yield Task.CONVERSATION, converse(truth, rng, wording)


def _boxed(truth: Truth) -> list[Finding]:
    return [(finding.label.value, finding.boxes) for finding in truth.findings]


def write_rows(folder: Path) -> int:
    """Write `instructions.jsonl` beside a collection's images; returns the number of rows.

    Lateral and mirrored views and what is no chest have none.
    """
    count = 0
    with (folder / ROWS_FILE).open("w", encoding="utf-8") as lines:
        for entry in read_collection(folder):
            for row in rows_of(entry) if entry.truth.is_frontal else ():
                lines.write(line_of(row.to_json()))
                count += 1
    return count
