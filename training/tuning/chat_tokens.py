"""A row as token ids and, for each, whether it carries loss: RadVLM's chat format in both loss modes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from inference.prompts import END_OF_TURN, IMAGE_TOKEN
from training.instructions import Row
from training.tuning.plan import LossMode

_START = "<|im_start|>"
_SYSTEM = "You are a helpful assistant."
_NO_LOSS = -100

Encode = Callable[[str], list[int]]


@dataclass(frozen=True, slots=True)
class ChatTokens:
    """Ids of a conversation with one id for the whole image, and their targets (-100 = no loss)."""

    ids: tuple[int, ...]
    targets: tuple[int, ...]

    def with_image(self, image_id: int, count: int) -> ChatTokens:
        """The same with `count` ids in the image's place, none of which carries loss."""
        place = self.ids.index(image_id)
        return ChatTokens(
            (*self.ids[:place], *[image_id] * count, *self.ids[place + 1 :]),
            (*self.targets[:place], *[_NO_LOSS] * count, *self.targets[place + 1 :]),
        )


def chat_tokens(row: Row, encode: Encode, mode: LossMode) -> ChatTokens:
    """Tokens of a row; `encode` gives a text's ids, special tokens read as such and none added."""
    return (_assistant_only if mode is LossMode.ASSISTANT_ONLY else _radvlm_compat)(row, encode)


def _questions(row: Row) -> list[tuple[str, str]]:
    (question, answer), *later = row.turns
    return [(f"{IMAGE_TOKEN}\n{question}", answer), *later]


def _assistant_only(row: Row, encode: Encode) -> ChatTokens:
    """The form the model is asked in: no system turn, no line feed after the last turn."""
    ids: list[int] = []
    targets: list[int] = []
    for number, (question, answer) in enumerate(_questions(row)):
        before = "\n" if number else ""
        asked = encode(f"{before}{_START}user\n{question}{END_OF_TURN}\n{_START}assistant\n")
        said = encode(f"{answer}{END_OF_TURN}")
        ids += asked + said
        targets += [_NO_LOSS] * len(asked) + said
    return ChatTokens(tuple(ids), tuple(targets))


def _radvlm_compat(row: Row, encode: Encode) -> ChatTokens:
    """Each turn is encoded by itself with a line feed after it, the last one too."""
    always = {*encode(_START), *encode(END_OF_TURN), *encode("\n")}
    turns = [("system", _SYSTEM)]
    for question, answer in _questions(row):
        turns += [("user", question), ("assistant", answer)]
    ids: list[int] = []
    targets: list[int] = []
    for role, text in turns:
        turn = encode(f"{_START}{role}\n{text}{END_OF_TURN}\n")
        ids += turn
        targets += [index if role == "assistant" or index in always else _NO_LOSS for index in turn]
    return ChatTokens(tuple(ids), tuple(targets))
