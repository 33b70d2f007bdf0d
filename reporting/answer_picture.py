"""PNG of an image with the boxes of one answer of a conversation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clinical import Box, ModelIdentity
from imaging import DisplayedImage
from reporting.marks import Colour
from reporting.numbering import COLOURS
from reporting.picture import LegendLine, PictureText, annotated_picture
from reporting.png import png_of
from reporting.radiograph import radiograph_of
from reporting.site_profile import DEFAULT_PROFILE


@dataclass(frozen=True, slots=True)
class _AnswerBox:
    number: int
    colour: Colour
    boxes_px: tuple[Box, ...]


def answer_png(
    displayed: DisplayedImage, question: str, answer: str, boxes_px: Sequence[Box], model: ModelIdentity
) -> bytes:
    """PNG with a numbered box for each of `boxes_px` (pixels of the stored image), question and answer below it."""
    boxes = [
        _AnswerBox(number, COLOURS[(number - 1) % len(COLOURS)], (box,))
        for number, box in enumerate(boxes_px, start=1)
    ]
    text = PictureText(
        warnings=tuple(line for line in (DEFAULT_PROFILE.banner, model.statement) if line),
        legend=(LegendLine(f"Asked: {question}"), LegendLine(f"Answered: {answer}")),
        footnotes=(f"{model.name} {model.version}, weights {model.weights_sha256[:16]}.",),
    )
    return png_of(annotated_picture(radiograph_of(displayed), boxes, text))
