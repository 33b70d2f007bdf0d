"""The whole Draft as one page of text in pixels: first of the pictures, and readable in every PACS."""

from __future__ import annotations

from collections.abc import Mapping

from pydicom import Dataset

from clinical import Draft, Reading
from reporting.equipment import made_words, result_uid
from reporting.numbering import numbered_findings
from reporting.overlay import picture_footnotes
from reporting.picture import LegendLine, PictureText, written_page
from reporting.secondary_capture import rgb_capture
from reporting.site_profile import DEFAULT_PROFILE, SiteProfile
from reporting.source import SourceImage
from reporting.sr_sources import report_sources
from reporting.wording import (
    NO_FINDING,
    check_words,
    concerns,
    critical_lines,
    legend_line,
    marked_sentence,
    negative_lines,
    outcome_sentence,
)

_WIDTH_PX = 1200


def build_summary(
    draft: Draft, sources: Mapping[str, SourceImage], profile: SiteProfile = DEFAULT_PROFILE
) -> Dataset:
    """Secondary Capture of the Draft in words, whatever its outcome; no image needs to be displayable.

    Raises
    ------
    Permanent
        ``source-header-unusable``, naming the attribute, if a read image or every image cannot be referenced.
    """
    found = report_sources(draft, sources)
    place = f"summary of {len(draft.image_uids)} image{'s' if len(draft.image_uids) != 1 else ''}"
    text = PictureText(
        warnings=tuple(line for line in _warnings(draft, profile) if line),
        legend=tuple(_lines(draft)),
        footnotes=picture_footnotes(draft, made_words(draft, found.first, profile), place),
    )
    return rgb_capture(
        draft,
        written_page(text, _WIDTH_PX),
        list(found.stand_ins.values()),
        found.first,
        profile,
        sop_instance_uid=result_uid(draft, "summary"),
        instance_number=1,
        description="overlay picture",
        derivation=f"Words of draft version {draft.version}, written by RadDraft {draft.product_version}",
    )


def _warnings(draft: Draft, profile: SiteProfile) -> tuple[str, ...]:
    return profile.banner, profile.draft_title, draft.model.statement, *critical_lines(draft)


def _lines(draft: Draft) -> list[LegendLine]:
    lines = [LegendLine(outcome_sentence(draft))]
    for number, reading in enumerate(draft.readings, start=1):
        view = f" ({reading.image.view_position})" if reading.image.view_position else ""
        lines += [LegendLine(f"Image {number}{view}"), *_reading_lines(reading)]
    lines += [
        LegendLine(f"Another image was not read ({outcome.state}): {outcome.reason}")
        for outcome in (draft.other_images if draft.readings else ())
    ]
    checks = [check for entry in draft.study_findings for check in concerns(entry.checks)]
    return lines + [LegendLine(check_words(check)) for check in (*checks, *concerns(draft.checks))]


def _reading_lines(reading: Reading) -> list[LegendLine]:
    lines = [
        LegendLine(legend_line(entry.finding), entry.number, entry.colour)
        for entry in numbered_findings(reading)
    ]
    lines = lines or [LegendLine(NO_FINDING)]
    lines += [LegendLine(line) for line in negative_lines(reading)]
    lines += [LegendLine(f"- {marked_sentence(sentence, reading)}") for sentence in reading.sentences]
    if reading.not_assessed:
        subjects = dict.fromkeys(entry.subject for entry in reading.not_assessed)
        lines.append(LegendLine(f"Not assessed: {', '.join(subjects)}"))
    return lines + [LegendLine(check_words(check)) for check in concerns(reading.checks)]
