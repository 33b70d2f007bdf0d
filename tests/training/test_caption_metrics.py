"""BLEU-4 and CIDEr-D: the numbers pycocoevalcap 1.2 gives on the same texts, and what they mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.evaluation.caption_metrics import bleu_4, cider_d

# Reports, references, and what Bleu(4) and Cider() of pycocoevalcap 1.2 answered.
_EXECUTED = {
    "short": (
        ["no effusion", "the heart is large", ""],
        ["there is no pleural effusion", "the heart is enlarged", "clear lungs"],
        5.221287676444539e-05,
        2.051224373635156,
    ),
    "same": (["a b c d e", "f g h i j"], ["a b c d e", "f g h i j"], 0.9999999997395838, 10.0),
    "one": (["a b c d"], ["a b c d"], 0.9999999992291674, 0.0),
    "long": (
        ["a b c d e f g h a b c d", "x"],
        ["a b c d e", "x y z w v"],
        0.32523403427308667,
        1.633959237238529,
    ),
}


@pytest.mark.parametrize("case", _EXECUTED)
def test_numbers_are_those_of_the_reference_implementation(case: str) -> None:
    reports, references, bleu, cider = _EXECUTED[case]
    assert bleu_4(reports, references) == bleu
    assert cider_d(reports, references) == pytest.approx(cider, rel=1e-15)


def test_no_report_scores_nothing() -> None:
    assert bleu_4([], []) == cider_d([], []) == 0.0


_texts = st.lists(st.sampled_from(["no", "effusion", "heart", "large", "clear"]), max_size=12).map(" ".join)


@given(st.lists(st.tuples(_texts, _texts), min_size=1, max_size=6))
def test_scores_stay_in_their_ranges(pairs: list[tuple[str, str]]) -> None:
    reports, references = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    assert 0 <= bleu_4(reports, references) <= 1
    assert 0 <= cider_d(reports, references) <= 10 + 1e-9
