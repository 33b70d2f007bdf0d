"""Golden token ids: a conversation becomes what Qwen2's own vocabulary makes of it, in both forms it is written in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

from inference.detokeniser import Detokeniser
from inference.prompts import conversation, first_turn
from training.instructions import Row, Task
from training.tuning import LossMode
from training.tuning.chat_tokens import chat_tokens

# Made by make_qwen2_excerpt.py with another encoder over the whole vocabulary.
EXCERPT: dict[str, Any] = json.loads(Path(__file__).with_name("qwen2_excerpt.json").read_text())
CHATS = EXCERPT["chats"]
START, END, LINE_FEED, ASSISTANT = 151644, 151645, 198, 77091


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """Qwen2's tokenizer as its folder describes it, with the part of its vocabulary that the texts need."""
    model = models.BPE(
        EXCERPT["vocabulary"] | EXCERPT["special"], [tuple(pair) for pair in EXCERPT["merges"]]
    )
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(EXCERPT["pattern"]), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(EXCERPT["special"]))
    return tokenizer


def encode(tokenizer: Tokenizer, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False).ids)


def row(chat: dict[str, Any]) -> Row:
    return Row("1", "1.png", Task.REPORT, tuple((question, answer) for question, answer in chat["turns"]))


@pytest.mark.parametrize("chat", CHATS)
def test_a_conversation_is_learnt_with_the_ids_it_is_asked_with(
    tokenizer: Tokenizer, chat: dict[str, Any]
) -> None:
    tokens = chat_tokens(row(chat), lambda text: encode(tokenizer, text), LossMode.ASSISTANT_ONLY)
    assert list(tokens.ids) == chat["asked"]
    learnt = [index for index in tokens.targets if index >= 0]
    answers = [answer for _, answer in chat["turns"]]
    assert learnt == [i for answer in answers for i in (*encode(tokenizer, answer), END)]


@pytest.mark.parametrize("chat", CHATS)
def test_a_conversation_in_the_authors_form_has_their_ids_and_their_loss(
    tokenizer: Tokenizer, chat: dict[str, Any]
) -> None:
    tokens = chat_tokens(row(chat), lambda text: encode(tokenizer, text), LossMode.RADVLM_COMPAT)
    assert list(tokens.ids) == chat["trained"]
    answering, learnt = False, []
    for number, index in enumerate(chat["trained"]):
        if index == START:
            answering = chat["trained"][number + 1] == ASSISTANT
        learnt.append(index if answering or index in (START, END, LINE_FEED) else -100)
        # The line feed after a turn belongs to it.
        answering = answering and not (index == LINE_FEED and chat["trained"][number - 1] == END)
    assert list(tokens.targets) == learnt


@pytest.mark.parametrize("chat", CHATS)
def test_the_served_prompt_has_the_same_ids_as_the_learnt_one(
    tokenizer: Tokenizer, chat: dict[str, Any]
) -> None:
    (*history, (question, answer)) = [tuple(turn) for turn in chat["turns"]]
    prompt = conversation(history, question) if history else first_turn(question)
    asked = chat["asked"]
    assert encode(tokenizer, prompt) == asked[: len(asked) - len(encode(tokenizer, answer)) - 1]


@pytest.mark.parametrize("chat", CHATS)
def test_answers_come_back_from_their_tokens_letter_by_letter(
    tokenizer: Tokenizer, chat: dict[str, Any]
) -> None:
    for _, answer in chat["turns"]:
        reader = Detokeniser(tokenizer)
        heard = "".join([reader.add(token) for token in encode(tokenizer, answer)])
        assert heard == reader.text == answer
