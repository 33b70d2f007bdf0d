"""The Draft as a PDF: words and pictures, marked as an AI's draft on each page."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from io import BytesIO
from typing import Any

from PIL import Image
from pydicom import Dataset
from reportlab import rl_config
from reportlab.lib.colors import Color, black, grey
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.lib.utils import simpleSplit
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, KeepTogether, Paragraph, SimpleDocTemplate, Spacer

from clinical import Draft, Reading
from reporting.equipment import made_words
from reporting.numbering import numbered_findings
from reporting.overlay import reading_text
from reporting.pdf_picture import JpegPicture
from reporting.picture import annotated_picture
from reporting.report_text import provenance_lines, reading_lines
from reporting.site_profile import DEFAULT_PROFILE, SiteProfile
from reporting.source import SourceImage, text_of
from reporting.sr_sources import report_sources
from reporting.wording import check_words, concerns, critical_lines, indication_lines, outcome_sentence

_PICTURE_PX = 1100
_PICTURE_WIDTH, _PICTURE_HEIGHT = 150 * mm, 165 * mm
_JPEG_QUALITY = 85
# Bitstream Vera comes with the library, so pages look the same on every machine.
_FONT, _BOLD = "Vera", "VeraBd"
# Pictures as they are, not in ASCII, which no reader of today asks for: a quarter smaller and made in half the time.
rl_config.useA85 = 0
_WATERMARK = Color(0.75, 0.35, 0.0, alpha=0.16)


def report_pdf(
    draft: Draft,
    sources: Mapping[str, SourceImage],
    profile: SiteProfile = DEFAULT_PROFILE,
    *,
    indication: str = "",
) -> bytes:
    """A4 pages of one Draft; the same arguments give the same bytes.

    Letters the embedded typeface does not have are written as their nearest plain letters. `indication` is why the
    images were ordered, in the order's words.

    Raises
    ------
    Permanent
        ``source-header-unusable`` if a read image or every image of the Draft cannot be referenced.
    """
    _fonts()
    header = report_sources(draft, sources).first
    story: list[Flowable] = [_line(profile.draft_title, _TITLE)]
    if draft.model.statement:
        story.append(_line(draft.model.statement, _WARNED))
    story += [
        *_identified(draft, header, profile),
        Spacer(1, 3 * mm),
        *(_line(line, _WARNED) for line in critical_lines(draft)),
        _line(outcome_sentence(draft), _STRONG),
        *(_line(line, _BODY) for line in indication_lines(indication)),
    ]
    for number, reading in enumerate(draft.readings, start=1):
        story += _of_reading(draft, reading, number, sources, profile)
    story += [_line(line, _BODY) for line in _of_study(draft)]
    story += [Spacer(1, 4 * mm), *(_line(line, _SMALL) for line in provenance_lines(draft))]
    out = BytesIO()
    document = SimpleDocTemplate(
        out,
        pagesize=A4,
        leftMargin=22 * mm,
        rightMargin=22 * mm,
        topMargin=24 * mm,
        bottomMargin=22 * mm,
        title=_printable(profile.draft_title),
        author=_printable(f"RadDraft {draft.product_version}, {draft.model.name} {draft.model.version}"),
        # No time of day and no random document ID: the bytes depend on the Draft alone.
        invariant=1,
        lang="en-US",
    )
    marked = _page_marks(draft, profile)
    document.build(story, onFirstPage=marked, onLaterPages=marked)
    return out.getvalue()


def _style(name: str, size: float, font: str = _FONT, **more: Any) -> ParagraphStyle:
    return ParagraphStyle(name, fontName=font, fontSize=size, leading=size * 1.4, **more)


_TITLE = _style("title", 14, _BOLD, spaceAfter=4)
_WARNED = _style("warned", 10, _BOLD, textColor=Color(0.7, 0.3, 0.0), spaceAfter=4)
_STRONG = _style("strong", 10.5, _BOLD, spaceAfter=4)
_BODY = _style("body", 9.5, spaceAfter=2)
_LEAD = _style("lead", 9.5, spaceAfter=2, keepWithNext=1)
_SMALL = _style("small", 7.5, textColor=grey)


@lru_cache(maxsize=1)
def _fonts() -> frozenset[int]:
    """Register the typeface; the code points it has."""
    held: set[int] = set()
    for name in (_FONT, _BOLD):
        font = TTFont(name, f"{name}.ttf")
        pdfmetrics.registerFont(font)
        held = set(font.face.charToGlyph) if not held else held & set(font.face.charToGlyph)
    return frozenset(held)


def _printable(text: str) -> str:
    line = " ".join("".join(c if unicodedata.category(c)[0] != "C" else " " for c in text).split())
    return "".join(c if ord(c) in _fonts() else _plain(c) for c in line)


def _plain(letter: str) -> str:
    decomposed = unicodedata.normalize("NFKD", letter)
    return "".join(c for c in decomposed if ord(c) in _fonts()) or "?"


def _line(text: str, style: ParagraphStyle) -> Paragraph:
    escaped = _printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return Paragraph(escaped, style)


def _identified(draft: Draft, header: Dataset, profile: SiteProfile) -> list[Flowable]:
    """Whose it is: a page may leave its DICOM object, and must not be taken for another patient's."""
    name = text_of(header, "PatientName").split("=")[0].replace("^", " ").strip()
    said = {
        "Patient": ", ".join(filter(None, (name, text_of(header, "PatientSex")))),
        "Patient ID": text_of(header, "PatientID"),
        "Born": _day(text_of(header, "PatientBirthDate")),
        "Accession number": text_of(header, "AccessionNumber"),
        "Study": " ".join(
            filter(None, (text_of(header, "StudyDescription"), _day(text_of(header, "StudyDate"))))
        ),
        "Draft made": made_words(draft, header, profile),
    }
    return [_line(f"{what}: {value}", _BODY) for what, value in said.items() if value]


def _day(value: str) -> str:
    """A date as 1961-02-03; what is none of VR DA stays as it is."""
    return f"{value[:4]}-{value[4:6]}-{value[6:]}" if re.fullmatch(r"\d{8}", value) else value


def _of_reading(
    draft: Draft,
    reading: Reading,
    number: int,
    sources: Mapping[str, SourceImage],
    profile: SiteProfile,
) -> list[Flowable]:
    source = sources[reading.image.sop_instance_uid]
    view = f" ({reading.image.view_position})" if reading.image.view_position else ""
    heading: list[Flowable] = [Spacer(1, 4 * mm), _line(f"Image {number}{view}", _STRONG)]
    if source.radiograph is not None:
        place = f"image {number} of {len(draft.readings)}"
        heading.append(_picture(draft, reading, source, place, profile))
    return [
        KeepTogether(heading),
        *(_line(line, _LEAD if line.endswith(":") else _BODY) for line in reading_lines(reading)),
    ]


def _picture(
    draft: Draft,
    reading: Reading,
    source: SourceImage,
    place: str,
    profile: SiteProfile,
) -> JpegPicture:
    text = reading_text(draft, reading, made_words(draft, source.header, profile), place, profile.banner)
    pixels = annotated_picture(source.shown.within(_PICTURE_PX), numbered_findings(reading), text)
    out = BytesIO()
    Image.fromarray(pixels).save(out, format="JPEG", quality=_JPEG_QUALITY)
    rows, columns = pixels.shape[:2]
    scale = min(_PICTURE_WIDTH / columns, _PICTURE_HEIGHT / rows)
    return JpegPicture(out.getvalue(), columns * scale, rows * scale)


def _of_study(draft: Draft) -> list[str]:
    lines = [
        f"Another image was not read ({outcome.state}): {outcome.reason}"
        for outcome in (draft.other_images if draft.readings else ())
    ]
    lines += [check_words(check) for entry in draft.study_findings for check in concerns(entry.checks)]
    return lines + [check_words(check) for check in concerns(draft.checks)]


def _page_marks(draft: Draft, profile: SiteProfile) -> Any:
    """Watermark under, and banner above and below, what stands on a page."""

    def mark(canvas: Canvas, document: Any) -> None:
        width, height = A4
        canvas.saveState()
        canvas.setFillColor(_WATERMARK)
        canvas.translate(width / 2, height / 2)
        canvas.rotate(52)
        banner = _printable(profile.banner)
        size = min(30.0, 0.5 * height / max(pdfmetrics.stringWidth(banner, _BOLD, 1.0), 1.0))
        for offset in (-75 * mm, 0, 75 * mm):
            canvas.setFont(_BOLD, size)
            canvas.drawCentredString(0, offset, banner)
        canvas.restoreState()
        canvas.saveState()
        canvas.setFillColor(black)
        said = _printable(" - ".join(filter(None, (profile.draft_title, draft.model.statement))))
        size, lines = _fitted(said, width - 44 * mm)
        canvas.setFont(_FONT, size)
        for number, line in enumerate(lines):
            canvas.drawString(22 * mm, height - (10 + 3.5 * number) * mm, line)
            canvas.drawString(22 * mm, (15.5 - 3.5 * number) * mm, line)
        canvas.drawRightString(width - 22 * mm, 8 * mm, f"page {document.page}")
        canvas.restoreState()

    return mark


def _fitted(text: str, width: float) -> tuple[float, list[str]]:
    """Size of the letters and two lines at most in which all of a text stands; a very long one is small."""
    size = 8.0
    while len(lines := simpleSplit(text, _FONT, size, width)) > 2 and size > 3.0:
        size -= 0.5
    return size, lines
