"""Streams, samples and conversations: what is heard piece by piece is the answer, and it can be repeated."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from clinical import Permanent, Transient
from inference import Answer, Model, Sampling, load_model, open_package, prompts
from inference.detokeniser import Detokeniser
from inference.sampling import Sampler, token_scores
from training.phantoms import displayed, draw

_IMAGE = displayed(draw(6_400_000, 160)[0])
_OTHER = displayed(draw(6_400_001, 160)[0])
_TOKENIZER = Tokenizer.from_file(str(open_package("embedded").folder / "tokenizer.json"))


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    model = load_model(threads=1, slots=2, stat_slots=0)
    yield model
    model.close()


def _heard(stream: Generator[str, None, Answer]) -> tuple[list[str], Answer]:
    pieces = []
    while True:
        try:
            pieces.append(next(stream))
        except StopIteration as end:
            return pieces, end.value


def test_the_pieces_of_a_stream_are_the_answer(model: Model) -> None:
    pieces, answer = _heard(model.ask_stream(_IMAGE, prompts.REPORT))
    assert len(pieces) > 3 and "".join(pieces) == answer.text
    assert answer == model.ask(_IMAGE, prompts.REPORT)


def test_a_stream_that_is_closed_leaves_the_model_free(model: Model) -> None:
    for _ in range(5):
        stream = model.ask_stream(_IMAGE, prompts.REPORT)
        next(stream)
        stream.close()
    assert model.ask(_IMAGE, prompts.REPORT).text


def test_a_stream_refuses_before_it_begins(model: Model) -> None:
    with pytest.raises(Permanent, match="not-a-gray-image"):
        model.ask_stream(np.zeros((3, 3, 3), dtype=np.uint8), prompts.REPORT)


def test_a_stream_ends_at_its_deadline(model: Model) -> None:
    with pytest.raises(Transient, match="deadline-passed"):
        _heard(model.ask_stream(_IMAGE, prompts.REPORT, deadline_s=0.0))


def test_the_same_seed_gives_the_same_answer_and_seeds_differ(model: Model) -> None:
    drawn = [
        model.ask(_IMAGE, prompts.REPORT, sampling=Sampling(temperature=2.0, seed=seed)).text
        for seed in (1, 2, 3, 1, 2, 3)
    ]
    assert drawn[:3] == drawn[3:] and len(set(drawn)) > 1


def test_a_sample_does_not_depend_on_who_else_is_served() -> None:
    sampling = Sampling(temperature=1.5, top_p=0.9, seed=11)
    asked = [(prompts.REPORT, ()), (prompts.CLASSIFICATION, ()), (prompts.grounding("left lung"), ())]
    answers = []
    for slots in (1, 3):
        model = load_model(threads=1, slots=slots)
        answers.append(model.answers(_IMAGE, asked, sampling=sampling))
        model.close()
    assert answers[0] == answers[1]


@pytest.mark.parametrize("settings_", [{"temperature": -1.0}, {"top_p": 0.0}, {"top_p": 1.5}, {"seed": -1}])
def test_settings_nobody_can_sample_with_are_refused(settings_: dict[str, Any]) -> None:
    with pytest.raises(Permanent, match="sampling-invalid"):
        Sampling(**settings_)


@given(
    st.lists(st.floats(-20, 20, width=32), min_size=2, max_size=40), st.floats(0.05, 1.0), st.integers(0, 99)
)
def test_only_tokens_of_the_nucleus_are_drawn(logits: list[float], top_p: float, seed: int) -> None:
    scores = token_scores(np.array([logits], dtype=np.float32))[0]
    probabilities = np.exp(scores.log_probabilities().astype(np.float64))
    token = Sampler(Sampling(temperature=1.0, top_p=top_p, seed=seed)).choose(scores)
    more_probable = probabilities[probabilities > probabilities[token]].sum()
    assert more_probable <= top_p + 1e-6


def test_low_temperature_takes_the_most_probable_and_high_takes_all() -> None:
    scores = token_scores(np.array([[0.0, 1.0, 0.5]], dtype=np.float32))[0]
    cold = {Sampler(Sampling(temperature=1e-3, seed=seed)).choose(scores) for seed in range(50)}
    hot = {Sampler(Sampling(temperature=50.0, seed=seed)).choose(scores) for seed in range(50)}
    assert cold == {1} and hot == {0, 1, 2}


@settings(max_examples=60)
@given(st.text(max_size=40), st.lists(st.integers(0, 600), max_size=30))
def test_text_grows_as_the_whole_answer_decodes(text: str, tokens: list[int]) -> None:
    for sequence in (_TOKENIZER.encode(text, add_special_tokens=False).ids, tokens):
        written = Detokeniser(_TOKENIZER)
        pieces = [written.add(token) for token in sequence]
        whole = _TOKENIZER.decode(sequence, skip_special_tokens=False)
        assert written.text == whole
        assert "".join(pieces) + written.unheard == whole
        assert written.ends == [
            len(_TOKENIZER.decode(sequence[: n + 1], skip_special_tokens=False)) for n in range(len(sequence))
        ]


def test_a_conversation_answers_as_the_same_history_does(model: Model) -> None:
    conversation = model.open_conversation(_IMAGE)
    asked = [prompts.CLASSIFICATION, "Is it on the left or right side?", prompts.REPORT]
    for question in asked:
        before = conversation.history
        answer = conversation.ask(question)
        assert answer == model.ask(_IMAGE, question, history=before)
        model.read(_OTHER)  # takes the rows: the image may have to be read again
    assert [question for question, _ in conversation.history] == asked


def test_a_conversation_has_limits(model: Model) -> None:
    short = model.open_conversation(_IMAGE, most_turns=1)
    short.ask(prompts.CLASSIFICATION)
    with pytest.raises(Permanent, match="conversation-too-long"):
        short.ask(prompts.CLASSIFICATION)
    with pytest.raises(Permanent, match="conversation-too-long"):
        model.open_conversation(_IMAGE, most_tokens=40).ask("where? " * 40)


def test_a_conversation_answers_one_question_at_a_time(model: Model) -> None:
    conversation = model.open_conversation(_IMAGE)
    stream = conversation.ask_stream(prompts.REPORT)
    next(stream)
    with pytest.raises(Transient, match="conversation-busy"):
        conversation.ask(prompts.REPORT)
    stream.close()
    assert conversation.history == ()
    assert conversation.ask(prompts.CLASSIFICATION).text
