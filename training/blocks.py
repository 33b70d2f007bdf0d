"""Rows -> token blocks that continue one shared image prefix.

The prefix of every sample is the opening of the user's turn and the image; a block is what follows it in RadVLM's chat
format: the question, the answer, and for a conversation the later turns. Only answers carry loss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from inference.prompts import END_OF_TURN, IMAGE_TOKEN, first_turn, later_turn
from training.instructions import Row, Task

TASK_WEIGHTS = {Task.CLASSIFICATION: 2.0, Task.REPORT: 1.5}
FIRST_DECIMAL_WEIGHT, SECOND_DECIMAL_WEIGHT, TEMPLATE_WEIGHT = 2.0, 0.6, 0.3
_SIDE_WORDS = frozenset({" right", " left", " both", " bilateral"})
_SIDE_WEIGHT = 2.0

Encode = Callable[[str], list[int]]


@dataclass(frozen=True, slots=True)
class Block:
    """Token ids of one block and the loss weight of each token as a target (0 = no loss)."""

    ids: tuple[int, ...]
    weights: tuple[float, ...]


class BlockWriter:
    """Writes rows as blocks with one tokenizer; keeps the tokens of what it wrote before."""

    def __init__(self, encode: Encode, pieces: list[str]) -> None:
        """`encode` gives a text's ids without adding specials; `pieces` holds the text of every id."""
        self._encode, self._pieces = encode, pieces
        self._known: dict[str, tuple[int, ...]] = {}
        self.prefix = self._ids(prefix_text())

    def _ids(self, text: str) -> tuple[int, ...]:
        if text not in self._known:
            if len(self._known) > 20_000:
                self._known.clear()
            self._known[text] = tuple(self._encode(text))
        return self._known[text]

    def write(self, row: Row) -> Block:
        """Block of a row."""
        ids: list[int] = []
        weights: list[float] = []
        scale = TASK_WEIGHTS.get(row.task, 1.0)
        for index, (question, answer) in enumerate(row.turns):
            asked = self._ids(question_text(question) if index == 0 else later_turn(question))
            said = (*self._encode(answer), *self._ids(END_OF_TURN))
            ids += [*asked, *said]
            weights += [0.0] * len(asked)
            weights += [scale * weight for weight in answer_weights([self._pieces[i] for i in said])]
        return Block(tuple(ids), tuple(weights))


def prefix_text() -> str:
    """What stands before the image."""
    return first_turn("").split(IMAGE_TOKEN)[0]


def question_text(question: str) -> str:
    """What follows the image: the first question up to where the answer begins."""
    return first_turn(question).split(IMAGE_TOKEN)[1]


def answer_weights(pieces: list[str]) -> list[float]:
    """Loss weight of each token of an answer: box digits by place, side words more, box punctuation less."""
    weights: list[float] = []
    for index, piece in enumerate(pieces):
        before = pieces[index - 1] if index else ""
        after = pieces[index + 1] if index + 1 < len(pieces) else ""
        if piece.isdigit():
            if before == ".":
                weights.append(FIRST_DECIMAL_WEIGHT)
            else:
                weights.append(TEMPLATE_WEIGHT if after == "." else SECOND_DECIMAL_WEIGHT)
        elif piece in {".", ",", " "} and (before.isdigit() or after.isdigit()):
            weights.append(TEMPLATE_WEIGHT)
        else:
            weights.append(_SIDE_WEIGHT if piece in _SIDE_WORDS else 1.0)
    return weights


def choose_rows(rows: Iterable[Row], rng: np.random.Generator) -> list[Row]:
    """The rows one visit of an image is trained on: classification always, boxes often, the long ones at times."""
    by_task: dict[Task, list[Row]] = {}
    for row in rows:
        by_task.setdefault(row.task, []).append(row)
    chosen: list[Row] = []
    for task, share, limit in _VISIT:
        here = by_task.get(task, [])
        if here and rng.random() < share:
            chosen += [here[index] for index in rng.permutation(len(here))[:limit]]
    return chosen


_VISIT = (
    (Task.CLASSIFICATION, 1.0, 1),
    (Task.REPORT, 0.6, 1),
    (Task.ANATOMY, 1.0, 3),
    (Task.ABNORMALITY, 1.0, 3),
    (Task.PHRASE, 0.6, 2),
    (Task.DETECTION, 0.35, 1),
    (Task.CONVERSATION, 0.7, 1),
)
