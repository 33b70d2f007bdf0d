"""Contact sheet of phantoms with their boxes, to look at before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from training.phantoms.kinds import Edition
from training.phantoms.phantom import displayed, draw


def contact_sheet(
    seeds: Sequence[int],
    path: Path,
    *,
    edition: Edition = Edition.FIRST,
    columns: int = 6,
    size_px: int = 320,
) -> None:
    """Write a PNG with one phantom per seed, its finding boxes and labels drawn on it."""
    rows = -(-len(seeds) // columns)
    sheet = Image.new("RGB", (columns * size_px, rows * size_px))
    for index, seed in enumerate(seeds):
        pixels, truth = draw(seed, size_px, edition)
        tile = Image.fromarray(displayed(pixels)).convert("RGB")
        pen = ImageDraw.Draw(tile)
        for finding in truth.findings:
            for box in finding.boxes:
                pen.rectangle([round(edge * (size_px - 1)) for edge in box], outline=(255, 210, 0))
        pen.text((4, size_px - 14), f"{seed}: " + ", ".join(truth.labels), fill=(0, 255, 160))
        sheet.paste(tile, ((index % columns) * size_px, (index // columns) * size_px))
    sheet.save(path)
