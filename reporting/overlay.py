"""Pictures: the displayed radiograph with thin outlines, and a band outside the anatomy that says what it is."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from clinical import Draft, Finding, Reading
from imaging import DisplayedImage
from reporting.wording import NOT_VERIFIED, finding_line

LONGEST_SIDE_PX = 2000
# Told apart by readers with colour-blindness too (Okabe and Ito); numbers say the same without colour.
_COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (213, 94, 0), (204, 121, 167))
_BAND = (24, 24, 24)
_TEXT = (235, 235, 235)
_WARNING = (255, 196, 92)


def overlay_png(reading: Reading, displayed: DisplayedImage, *, statement: str = "") -> bytes:
    """PNG of one Reading: boxes, numbers, legend, and what the model says of itself."""
    lines = legend_lines(reading, statement=statement)
    picture = annotated_picture(displayed, reading.present, lines)
    out = BytesIO()
    Image.fromarray(picture).save(out, format="PNG", optimize=False)
    return out.getvalue()


def legend_lines(reading: Reading, *, statement: str) -> list[str]:
    """Lines of the band below the image."""
    lines = [NOT_VERIFIED] + ([statement] if statement else [])
    for number, finding in enumerate(reading.present, start=1):
        lines.append(f"{number}  {finding_line(finding)}{'' if finding.boxes else ', no box'}")
    if not reading.present:
        lines.append("No finding called present")
    return lines


def banner_lines(draft: Draft, *, image_number: int, image_count: int) -> list[str]:
    """Lines every burned-in picture of a Draft carries: product, version, time, image number."""
    made = draft.completed_at_utc
    return [
        f"RadDraft {draft.product_version}, {draft.model.name} {draft.model.version}",
        f"{made:%Y-%m-%d %H:%M:%S} UTC, draft version {draft.version}, image {image_number}/{image_count}",
    ]


def annotated_picture(
    displayed: DisplayedImage, findings: Sequence[Finding], lines: Sequence[str]
) -> NDArray[np.uint8]:
    """RGB uint8 (rows + band, columns, 3): the radiograph above, the text below, only outlines over the anatomy."""
    image = Image.fromarray(np.asarray(displayed.pixels))
    scale = min(1.0, LONGEST_SIDE_PX / max(image.size))
    if scale < 1.0:
        image = image.resize(
            (max(1, round(image.width * scale)), max(1, round(image.height * scale))),
            Image.Resampling.LANCZOS,
        )
    font_px = max(11, image.width // 48)
    font = ImageFont.load_default(font_px)
    wrapped = [part for line in lines for part in _wrapped(line, font, image.width - font_px)]
    line_px = round(font_px * 1.35)
    canvas = Image.new("RGB", (image.width, image.height + line_px * len(wrapped) + font_px), _BAND)
    canvas.paste(image.convert("RGB"), (0, 0))
    draw = ImageDraw.Draw(canvas)
    _draw_boxes(draw, findings, image.size, scale, font_px)
    for row, line in enumerate(wrapped):
        colour = _WARNING if line.startswith(NOT_VERIFIED) or "NOT FOR CLINICAL USE" in line else _TEXT
        draw.text((font_px // 2, image.height + font_px // 2 + row * line_px), line, fill=colour, font=font)
    return np.asarray(canvas)


def _wrapped(line: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width_px: int) -> list[str]:
    """A line broken at spaces to fit the band; a word that is wider stays whole."""
    parts: list[str] = []
    for word in line.split(" "):
        longer = f"{parts[-1]} {word}" if parts else word
        if parts and font.getlength(longer) > width_px:
            parts.append(word)
        elif parts:
            parts[-1] = longer
        else:
            parts.append(word)
    return parts


def _draw_boxes(
    draw: ImageDraw.ImageDraw, findings: Sequence[Finding], size: tuple[int, int], scale: float, font_px: int
) -> None:
    width_px = max(1, size[0] // 500)
    small = ImageFont.load_default(max(10, font_px * 3 // 4))
    for number, finding in enumerate(findings, start=1):
        colour = _COLOURS[(number - 1) % len(_COLOURS)]
        for box in finding.boxes:
            inside = box.box_px.clamped(columns=round(size[0] / scale), rows=round(size[1] / scale))
            x0, y0 = inside.x0 * scale, inside.y0 * scale
            x1, y1 = min(inside.x1 * scale, size[0] - 1), min(inside.y1 * scale, size[1] - 1)
            draw.rectangle((x0, y0, x1, y1), outline=colour, width=width_px)
            # The number stands just outside the corner, so that it covers nothing inside the box.
            draw.text((min(x1 + 2, size[0] - font_px), y0), str(number), fill=colour, font=small)
