"""Contact sheet of phantoms with their boxes, to look at before anything is trained."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from training.phantoms.kinds import LABELS, Form, Kind
from training.phantoms.phantom import Truth, displayed, truth_of
from training.phantoms.strangers import Stranger
from training.phantoms.subjects import Subject, draw_subject

Shown = tuple[int, Subject]

_FINDING, _TIP, _TEXT = (255, 210, 0), (255, 80, 80), (0, 255, 160)
_FONT = ImageFont.load_default_imagefont()
_CAPTION_PX = 62
# What a caption says where neither label nor form is short or clear.
_SHORT = {
    Kind.SUPPORT_DEVICES: "devices",
    Kind.CONSOLIDATION: "consolidation",
    Kind.PLEURAL_EFFUSION: "effusion",
    Kind.PLEURAL_OTHER: "pleural thickening",
    Kind.MEDIASTINAL_SHIFT: "shift",
    Kind.PNEUMOTHORAX: "pneumothorax",
    Kind.FRACTURE: "fracture",
}
_SHORT_DEVICES: dict[str, str] = {
    Form.ENDOTRACHEAL_TUBE: "ET tube",
    Form.NASOGASTRIC_TUBE: "NG tube",
    Form.CENTRAL_LINE: "CVC",
}
_COLOURS = 40  # keeps the picture small: noise does not compress


def contact_sheet(
    shown: Sequence[Shown],
    path: Path,
    *,
    columns: int = 6,
    size_px: int = 320,
) -> None:
    """Write a PNG with one phantom per (seed, subject), the boxes of its findings and tips of its devices on it."""
    rows = -(-len(shown) // columns)
    sheet = Image.new("RGB", (columns * size_px, rows * (size_px + _CAPTION_PX)))
    for index, (seed, subject) in enumerate(shown):
        tile = _tile(seed, subject, size_px)
        sheet.paste(tile, ((index % columns) * size_px, (index // columns) * (size_px + _CAPTION_PX)))
    sheet.quantize(_COLOURS).save(path, optimize=True)


def _tile(seed: int, subject: Subject, size_px: int) -> Image.Image:
    pixels, truth = draw_subject(seed, size_px, subject)
    tile = Image.fromarray(displayed(pixels)).convert("RGB")
    pen = ImageDraw.Draw(tile)
    for finding in truth.findings:
        for box in finding.boxes:
            pen.rectangle([round(edge * (size_px - 1)) for edge in box], outline=_FINDING)
    for device in truth.devices:
        x, y = (edge * size_px for edge in device.tip)
        pen.ellipse([x - 2, y - 2, x + 2, y + 2], outline=_TIP)
    captioned = Image.new("RGB", (size_px, size_px + _CAPTION_PX))
    captioned.paste(tile)
    ImageDraw.Draw(captioned).multiline_text(
        (3, size_px + 2), _caption(truth, size_px - 6), fill=_TEXT, font=_FONT, spacing=1
    )
    return captioned


def _caption(truth: Truth, width_px: int) -> str:
    """View and findings, wrapped to a width; forms stand for labels where they say more."""
    told = [_SHORT.get(finding.label, finding.form or finding.label.value) for finding in truth.findings]
    if truth.devices:
        told.remove(_SHORT[Kind.SUPPORT_DEVICES])
        told += [_SHORT_DEVICES.get(device.form, device.form) for device in truth.devices]
    view = "mirrored" if truth.mirrored else truth.view
    lines = [view + (":" if told else "")]
    for number, word in enumerate(told):
        part = word + ("," if number + 1 < len(told) else "")
        if _FONT.getlength(f"{lines[-1]} {part}") <= width_px:
            lines[-1] += f" {part}"
        else:
            lines.append(part)
    return "\n".join(lines)


def telling(first_seed: int) -> Iterator[Shown]:
    """Phantoms from a seed on, each with a finding, form or tip that none before it had, until no label is missing.

    They end with a mirrored view, a lateral one, and each kind of stranger.
    """
    wanted, seen = set(LABELS), set[str]()
    for seed in itertools.count(first_seed):
        fresh = _told(truth_of(seed)) - seen
        if fresh:
            seen |= fresh
            yield seed, Subject.FRONTAL
        if wanted <= seen:
            break
    yield first_seed, Subject.MIRRORED
    yield first_seed, Subject.LATERAL
    for number in range(len(Stranger)):
        yield number, Subject.STRANGER


def _told(truth: Truth) -> set[str]:
    forms = {f"{one.label.value}, {one.form}" for one in truth.findings}
    places = {f"{device.form}, {device.place}" for device in truth.devices}
    return {one.label.value for one in truth.findings} | forms | places
