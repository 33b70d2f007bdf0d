"""Rewards of reinforcement learning: what they pay for, and what they cannot be tricked with."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.instructions import Row, Task
from training.tuning.rewards import (
    MISSING_ANSWER,
    gleu,
    grounding_reward,
    report_reward,
    reward_functions,
    soft_f1,
)

A, B = (0.1, 0.1, 0.3, 0.3), (0.6, 0.6, 0.9, 0.9)
edges = st.tuples(st.floats(0, 0.4), st.floats(0, 0.4), st.floats(0.5, 1), st.floats(0.5, 1))


def test_gleu_is_the_smaller_of_precision_and_recall() -> None:
    assert gleu("the lungs are clear", "the lungs are clear") == 1.0
    assert gleu("lungs clear", "the lungs are clear") == pytest.approx(2 / 10)
    assert gleu("", "the lungs are clear") == 0.0


def test_longer_report_of_the_same_words_earns_less() -> None:
    assert gleu("edema edema edema", "edema") < gleu("edema", "edema")


def test_empty_report_costs_what_the_authors_say() -> None:
    assert report_reward(" ", "clear") == MISSING_ANSWER < report_reward("wrong", "clear")


def test_boxes_are_matched_for_the_largest_sum_whatever_their_order() -> None:
    assert soft_f1([B, A], [A, B]) == pytest.approx(1.0)
    assert soft_f1([A, A], [A]) == pytest.approx(2 / 3)
    assert soft_f1([A], [A, B]) == pytest.approx(2 / 3)
    assert soft_f1([], []) == 1.0 and soft_f1([A], []) == soft_f1([], [A]) == 0.0


def test_grounding_reward_reads_the_answers_text() -> None:
    assert grounding_reward("It is at [0.1, 0.1, 0.3, 0.3].", [A]) == pytest.approx(1.0)
    assert grounding_reward("nowhere", [A]) == 0.0


@given(st.lists(edges, max_size=4), st.lists(edges, max_size=4))
def test_soft_f1_is_symmetric_and_bounded(
    first: list[tuple[float, float, float, float]], second: list[tuple[float, float, float, float]]
) -> None:
    assert soft_f1(first, second) == pytest.approx(soft_f1(second, first))
    assert -1e-9 <= soft_f1(first, second) <= 1 + 1e-9


def test_trainer_is_handed_gleu_for_reports_and_soft_f1_for_boxes() -> None:
    rows = [
        Row("0", "0.png", Task.REPORT, (("?", "the lungs are clear"),)),
        Row("1", "1.png", Task.ANATOMY, (("?", "At [0.1, 0.1, 0.3, 0.3]."),)),
    ]
    said = ("lungs clear", "At [0.1, 0.1, 0.3, 0.3].")
    completions = [[{"role": "assistant", "content": text}] for text in said]
    reports, boxes = reward_functions(rows)
    assert (reports.__name__, boxes.__name__) == ("gleu", "soft_f1")
    asked = {"completions": completions, "row": [0, 1], "prompts": [], "image": []}
    assert reports(**asked) == [pytest.approx(0.2), None] and boxes(**asked) == [None, pytest.approx(1.0)]
