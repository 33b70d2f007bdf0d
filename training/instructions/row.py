"""One row of RadVLM's instruction data (LLaVA JSON): a conversation about one image."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.prompts import IMAGE_TOKEN
from training.datasets.conversations import turns_of
from training.task import Task

ROWS_FILE = "instructions.jsonl"


@dataclass(frozen=True, slots=True)
class Row:
    """One instruction row: the turns hold (question, answer), the image stands before the first question.

    `labels` (what is present) and `pathologies` (what could have been) are written where they are known, as
    RadVLM writes them; None leaves the key out.
    """

    identifier: str
    image: str
    task: Task
    turns: tuple[tuple[str, str], ...]
    labels: tuple[str, ...] | None = None
    source: str = "phantom"
    pathologies: tuple[str, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """LLaVA's form, with RadVLM's task and source beside it."""
        spoken: list[dict[str, str]] = []
        for index, (question, answer) in enumerate(self.turns):
            prefix = f"{IMAGE_TOKEN}\n" if index == 0 else ""
            spoken.append({"from": "human", "value": prefix + question})
            spoken.append({"from": "gpt", "value": answer})
        record: dict[str, Any] = {
            "id": self.identifier,
            "image": self.image,
            "conversations": spoken,
            "task": self.task.value,
            "source": self.source,
        }
        for key, names in (("labels", self.labels), ("pathologies", self.pathologies)):
            if names is not None:
                record[key] = list(names)
        return record


def row_from_json(record: dict[str, Any]) -> Row:
    """Row read back from LLaVA's form; raises ValueError where questions and answers do not alternate."""
    (question, answer), *rest = turns_of(record["conversations"])
    turns = ((question.removeprefix(f"{IMAGE_TOKEN}\n"), answer), *rest)
    labels, pathologies = (tuple(record[key]) if key in record else None for key in ("labels", "pathologies"))
    return Row(
        str(record["id"]), record["image"], Task(record["task"]), turns, labels, record.get("source", ""),
        pathologies,
    )  # fmt: skip


def line_of(record: dict[str, Any]) -> str:
    """One line of a JSONL file, line feed included; the same record gives the same bytes."""
    return json.dumps(record, separators=(",", ":"), ensure_ascii=False) + "\n"


def read_rows(folder: Path) -> Iterator[Row]:
    """Rows of `instructions.jsonl`, streamed."""
    with (folder / ROWS_FILE).open(encoding="utf-8") as lines:
        for line in lines:
            yield row_from_json(json.loads(line))
