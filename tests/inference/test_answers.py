"""The parser reads what has the form asked for, counts what has not, and never fails on any text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical import Box, Laterality, Polarity
from inference.answers import (
    has_broken_box,
    read_classification,
    read_grounding,
    read_sentences,
    side_of_box,
)
from inference.box_text import read_boxes, write_boxes
from inference.vlm import Generation

LABELS = ("Atelectasis", "Cardiomegaly", "Consolidation", "Lung Lesion", "Pleural Effusion", "Pneumothorax")
PREFIX = "The Chest X-ray shows "
# Text in the shape of answers, and text in no shape at all, control tokens and odd letters included.
_PIECES = st.sampled_from(
    (
        *(
            PREFIX,
            "[0.1, 0.2, 0.3, 0.4]",
            "[0.9, 0.2, 0.3]",
            "no ",
            " and ",
            ", ",
            ".",
            "left ",
            "bilateral ",
        ),
        *(label.lower() for label in LABELS),
        *("İ", "ſ", "<image>", "<|im_end|>", "[", "]", "1e999", "\n", "5 cm", "unchanged"),
    )
)
_TEXTS = st.lists(_PIECES, max_size=12).map("".join) | st.text(max_size=80)


def _generation(text: str, log_probability: float = -0.1) -> Generation:
    """One token per character."""
    count = len(text)
    spans = tuple((index, index + 1) for index in range(count))
    return Generation(text, tuple(range(count)), (log_probability,) * count, True, spans)


@given(_TEXTS)
@settings(deadline=None)
def test_no_text_is_an_exception(text: str) -> None:
    named = read_classification(text, LABELS, PREFIX)
    assert set(named.labels) <= set(LABELS)
    assert all(text[at : at + len(label)].lower() == label.lower() for at, label in named.places)
    sentences = read_sentences(text, LABELS)
    assert all(sentence.text in text for sentence in sentences)
    for grounded in read_grounding(_generation(text), columns=100, rows=50):
        box = grounded.box_px
        assert 0 <= box.x0 < box.x1 <= 100 and 0 <= box.y0 < box.y1 <= 50
    has_broken_box(text)


@pytest.mark.parametrize(
    ("answer", "labels"),
    [
        ("The Chest X-ray shows atelectasis.", ("Atelectasis",)),
        ("The Chest X-ray shows lung lesion and pleural effusion.", ("Lung Lesion", "Pleural Effusion")),
        (
            "The Chest X-ray shows atelectasis, cardiomegaly and pneumothorax.",
            ("Atelectasis", "Cardiomegaly", "Pneumothorax"),
        ),
        ("The Chest X-ray shows no abnormalities.", ()),
    ],
)
def test_a_classification_answer_is_read_whole(answer: str, labels: tuple[str, ...]) -> None:
    read = read_classification(answer, LABELS, PREFIX)
    assert read.labels == labels
    assert not read.malformed


@pytest.mark.parametrize(
    "answer",
    ["", "The Chest X-ray shows", "banana", "The Chest X-ray shows atelectasis banana.", "Atelectasis."],
)
def test_what_has_not_the_form_is_malformed(answer: str) -> None:
    assert read_classification(answer, LABELS, PREFIX).malformed


def test_a_label_in_a_malformed_answer_is_not_lost() -> None:
    read = read_classification("I think there is a pneumothorax here", LABELS, PREFIX)
    assert read.malformed and read.labels == ("Pneumothorax",)


def test_a_denied_label_is_not_named() -> None:
    answer = "The Chest X-ray shows no pneumothorax but atelectasis."
    assert read_classification(answer, LABELS, PREFIX).labels == ("Atelectasis",)


def test_a_label_inside_another_word_is_not_named() -> None:
    read = read_classification("The Chest X-ray shows hydropneumothorax.", LABELS, PREFIX)
    assert read.labels == () and read.malformed


@pytest.mark.parametrize(
    ("sentence", "labels", "polarity", "side", "site"),
    [
        (
            "There is a lung lesion in the right upper lung zone.",
            (("Lung Lesion", True),),
            Polarity.POSITIVE,
            Laterality.RIGHT,
            "right upper lung zone",
        ),
        (
            "No pleural effusion or pneumothorax.",
            (("Pleural Effusion", False), ("Pneumothorax", False)),
            Polarity.NEGATIVE,
            Laterality.UNSPECIFIED,
            None,
        ),
        (
            "Small left effusion without pneumothorax.",
            (("Pleural Effusion", True), ("Pneumothorax", False)),
            Polarity.POSITIVE,
            Laterality.LEFT,
            None,
        ),
        (
            "The heart size is normal.",
            (("Cardiomegaly", False),),
            Polarity.NEGATIVE,
            Laterality.UNSPECIFIED,
            None,
        ),
        (
            "The heart is enlarged.",
            (("Cardiomegaly", True),),
            Polarity.POSITIVE,
            Laterality.UNSPECIFIED,
            None,
        ),
        (
            "There is a bilateral pleural effusion.",
            (("Pleural Effusion", True),),
            Polarity.POSITIVE,
            Laterality.BILATERAL,
            None,
        ),
        ("The patient is rotated.", (), Polarity.NEUTRAL, Laterality.UNSPECIFIED, None),
    ],
)
def test_a_report_sentence_gets_labels_side_and_zone(
    sentence: str,
    labels: tuple[tuple[str, bool], ...],
    polarity: Polarity,
    side: Laterality,
    site: str | None,
) -> None:
    (read,) = read_sentences(sentence, LABELS)
    assert read.labels == labels
    assert read.polarity is polarity
    assert read.laterality is side
    assert (read.site.name if read.site else None) == site


def test_sentences_are_kept_word_for_word() -> None:
    report = "The heart size is normal. There is no pneumothorax.\nLungs are clear."
    assert [s.text for s in read_sentences(report, LABELS)] == [
        "The heart size is normal.",
        "There is no pneumothorax.",
        "Lungs are clear.",
    ]


def test_boxes_become_pixels_with_the_confidence_of_their_digits() -> None:
    text = "It is located at [0.1, 0.2, 0.5, 1.0] and [0.50, 0.5, 0.9, 0.8]."
    scores = tuple(-0.5 if char.isdigit() or char == "." else -9.0 for char in text)
    spans = tuple((index, index + 1) for index in range(len(text)))
    boxes = read_grounding(
        Generation(text, tuple(range(len(text))), scores, True, spans), columns=1000, rows=500
    )
    assert [b.box_px for b in boxes] == [Box(100, 100, 500, 500), Box(500, 250, 900, 400)]
    assert [b.confidence for b in boxes] == [0.6065, 0.6065]


@pytest.mark.parametrize(
    "text", ["[0.5, 0.1, 0.4, 0.9]", "[0.1, 0.1, 1.2, 0.9]", "[0.1, 0.1, 0.9]", "[0.1 0.1 0.9 0.9]", "[]"]
)
def test_ill_formed_boxes_are_left_out_and_noticed(text: str) -> None:
    assert read_grounding(_generation(text), columns=10, rows=10) == ()
    assert has_broken_box(text)


def test_a_box_said_twice_counts_once() -> None:
    text = "[0.1, 0.1, 0.2, 0.2] and [0.1, 0.1, 0.2, 0.2]"
    assert len(read_grounding(_generation(text), columns=10, rows=10)) == 1
    assert not has_broken_box(text)


_FRACTIONS = st.integers(0, 99).flatmap(
    lambda low: st.tuples(st.just(low / 100), st.integers(low + 1, 100).map(lambda high: high / 100))
)


@given(st.lists(st.tuples(_FRACTIONS, _FRACTIONS), min_size=1, max_size=5))
def test_written_boxes_are_read_back(edges: list[tuple[tuple[float, float], tuple[float, float]]]) -> None:
    boxes = tuple((x[0], y[0], x[1], y[1]) for x, y in edges)
    assert read_boxes(write_boxes(boxes)) == boxes


def test_the_left_of_the_image_is_the_right_of_the_patient() -> None:
    assert side_of_box(Box(10, 0, 30, 20), columns=100) is Laterality.RIGHT
    assert side_of_box(Box(70, 0, 90, 20), columns=100) is Laterality.LEFT
    assert side_of_box(Box(30, 0, 70, 20), columns=100) is Laterality.UNSPECIFIED
