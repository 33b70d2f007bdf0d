"""RadVLM's instruction data (LLaVA JSON): one row per question or conversation about one image."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from inference.prompts import IMAGE_TOKEN
from training.instructions import answers, sentences
from training.instructions.conversation import Turn, converse
from training.instructions.questions import Wording
from training.phantoms import Truth
from training.phantoms.collection import Entry, read_collection

ROWS_FILE = "instructions.jsonl"
CONVERSATIONS_PER_IMAGE = 2


class Task(StrEnum):
    """What a row teaches."""

    REPORT = "report"
    CLASSIFICATION = "classification"
    ANATOMY = "anatomical_grounding"
    ABNORMALITY = "abnormality_grounding"
    PHRASE = "phrase_grounding"
    DETECTION = "detection"
    CONVERSATION = "conversation"


@dataclass(frozen=True, slots=True)
class Row:
    """One instruction row: the turns hold (question, answer), the image stands before the first question."""

    identifier: str
    image: str
    task: Task
    turns: tuple[tuple[str, str], ...]
    labels: tuple[str, ...]
    source: str = "phantom"

    def to_json(self) -> dict[str, Any]:
        """LLaVA's form, with RadVLM's task and source beside it."""
        spoken: list[dict[str, str]] = []
        for index, (question, answer) in enumerate(self.turns):
            prefix = f"{IMAGE_TOKEN}\n" if index == 0 else ""
            spoken.append({"from": "human", "value": prefix + question})
            spoken.append({"from": "gpt", "value": answer})
        return {
            "id": self.identifier,
            "image": self.image,
            "conversations": spoken,
            "task": self.task.value,
            "source": self.source,
            "labels": list(self.labels),
        }


def row_from_json(record: dict[str, Any]) -> Row:
    """Row read back from LLaVA's form; raises ValueError where questions and answers do not alternate."""
    spoken = record["conversations"]
    pairs = list(zip(spoken[::2], spoken[1::2], strict=True))
    if any(asked["from"] != "human" or said["from"] != "gpt" for asked, said in pairs):
        raise ValueError("questions and answers do not alternate")
    turns = tuple((asked["value"].removeprefix(f"{IMAGE_TOKEN}\n"), said["value"]) for asked, said in pairs)
    labels, source = tuple(record.get("labels", ())), record.get("source", "")
    return Row(str(record["id"]), record["image"], Task(record["task"]), turns, labels, source)


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
    yield Task.CLASSIFICATION, (Turn(wording.classification(), answers.classification(truth)),)
    yield Task.DETECTION, (Turn(wording.detection(), answers.detection(truth)),)
    for name, box in truth.regions.items():
        yield Task.ANATOMY, (Turn(wording.grounding(name), answers.location(name, [box])),)
    for finding in truth.findings:
        name = finding.label.value.lower()
        yield Task.ABNORMALITY, (Turn(wording.grounding(name), answers.location(name, finding.boxes)),)
        sentence = sentences.present(finding)
        yield Task.PHRASE, (Turn(wording.phrase(sentence), answers.phrase(finding.boxes)),)
    for _ in range(CONVERSATIONS_PER_IMAGE):
        yield Task.CONVERSATION, converse(truth, rng, wording)


def write_rows(folder: Path) -> int:
    """Write `instructions.jsonl` beside a collection's images; returns the number of rows."""
    count = 0
    with (folder / ROWS_FILE).open("w", encoding="utf-8") as lines:
        for entry in read_collection(folder):
            for row in rows_of(entry):
                lines.write(json.dumps(row.to_json(), separators=(",", ":")) + "\n")
                count += 1
    return count


def read_rows(folder: Path) -> Iterator[Row]:
    """Rows of `instructions.jsonl`, streamed."""
    with (folder / ROWS_FILE).open(encoding="utf-8") as lines:
        for line in lines:
            yield row_from_json(json.loads(line))
