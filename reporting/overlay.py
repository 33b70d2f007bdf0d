"""Overlay PNG of a Reading, and the words that pictures carry."""

from __future__ import annotations

from collections.abc import Iterable

from clinical import Draft, Reading
from reporting.numbering import numbered_findings
from reporting.picture import LegendLine, PictureText, annotated_picture
from reporting.png import png_of
from reporting.site_profile import DEFAULT_PROFILE
from reporting.source import SourceImage
from reporting.wording import (
    NO_FINDING,
    SCORES_NOTE,
    check_words,
    concerns,
    critical_lines,
    legend_line,
    negative_lines,
    outcome_sentence,
    unsupported_lines,
)


def overlay_png(reading: Reading, source: SourceImage, *, statement: str = "") -> bytes:
    """PNG of one Reading with the look of its Secondary Capture: boxes, numbers, legend.

    Parameters
    ----------
    statement
        What the model says of itself; the Reading's own model's where it is empty.

    Raises
    ------
    Permanent
        ``displayed-image-missing`` without a radiograph.
    """
    model = reading.model
    text = PictureText(
        warnings=_filled((DEFAULT_PROFILE.banner, statement or model.statement)),
        legend=_legend(reading),
        footnotes=(f"{model.name} {model.version}, weights {model.weights_sha256[:16]}. {SCORES_NOTE}",),
    )
    return png_of(annotated_picture(source.shown, numbered_findings(reading), text))


def reading_text(draft: Draft, reading: Reading, made: str, place: str, banner: str) -> PictureText:
    """Words around a burned-in picture of a read image; `place` is like "image 1 of 2"."""
    return PictureText(
        _filled((banner, draft.model.statement, *critical_lines(draft))),
        _legend(reading),
        picture_footnotes(draft, made, place),
    )


def not_read_text(draft: Draft, made: str, place: str, banner: str) -> PictureText:
    """Words around a burned-in picture of a study nothing was read of."""
    legend = [LegendLine(outcome_sentence(draft))]
    return PictureText(
        _filled((banner, draft.model.statement)), tuple(legend), picture_footnotes(draft, made, place)
    )


def _legend(reading: Reading) -> tuple[LegendLine, ...]:
    lines = [
        LegendLine(legend_line(entry.finding), entry.number, entry.colour)
        for entry in numbered_findings(reading)
    ]
    if not lines:
        lines.append(LegendLine(NO_FINDING))
    lines += [LegendLine(line) for line in (*unsupported_lines(reading), *negative_lines(reading))]
    if reading.not_assessed:
        subjects = dict.fromkeys(entry.subject for entry in reading.not_assessed)
        lines.append(LegendLine(f"Not assessed: {', '.join(subjects)}"))
    lines += [LegendLine(check_words(check)) for check in concerns(reading.checks)]
    return tuple(lines)


def picture_footnotes(draft: Draft, made: str, place: str) -> tuple[str, ...]:
    """Product, model, time and version of a Draft, and what the picture is not for."""
    model = draft.model
    return (
        f"RadDraft {draft.product_version}, {model.name} {model.version}, weights {model.weights_sha256[:16]}. "
        f"{made}, draft version {draft.version}, {place}. {SCORES_NOTE} Do not measure on this picture.",
    )


def _filled(lines: Iterable[str]) -> tuple[str, ...]:
    return tuple(line for line in lines if line)
