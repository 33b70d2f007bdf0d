"""VinDr-CXR's DICOM files as the JPEGs that training and evaluation read, with the size of each original.

Two ways of rendering. The default is the service's own display pipeline at the original's proportions. The other
repeats RadVLM's conversion, defects included, because its published numbers were measured on such images.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom import dcmread

from imaging import DecodeLimits, load_displayed

RADVLM_SIZE_PX = 512
_QUALITY = 95
_SUFFIXES = (".dicom", ".dcm")


def convert_images(
    root: Path,
    split: str,
    *,
    longest_side_px: int = 1024,
    radvlm_compat: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write `SPLIT_jpg/IMAGE.jpg` and `image_resolutions_SPLIT.json` ([rows, columns]) below `root`.

    A stopped run goes on where it was: a file that exists is not rendered again. The sizes are written for
    every image; `radvlm_compat` repeats the reference, which records only those it renders in this run.

    Returns
    -------
    int
        Images rendered.

    Raises
    ------
    clinical.RadDraftError
        A file that cannot be decoded, by the display pipeline's own kinds.
    """
    sources = sorted(path for path in (root / split).iterdir() if path.suffix.lower() in _SUFFIXES)
    folder = root / f"{split}_jpg"
    folder.mkdir(exist_ok=True)
    sizes: dict[str, tuple[int, int]] = {}
    rendered = 0
    for done, source in enumerate(sources, start=1):
        target = folder / f"{source.stem}.jpg"
        if not target.exists():
            _write(
                target,
                _radvlm(source) if radvlm_compat else _displayed(source, longest_side_px),
                radvlm_compat,
            )
            rendered += 1
            sizes[source.stem] = _size(source)
        elif not radvlm_compat:
            sizes[source.stem] = _size(source)
        if progress:
            progress(done, len(sources))
    resolutions = root / f"image_resolutions_{split}.json"
    resolutions.write_text(json.dumps(sizes), encoding="utf-8")
    return rendered


def _size(source: Path) -> tuple[int, int]:
    header = dcmread(source, stop_before_pixels=True, specific_tags=["Rows", "Columns"])
    return int(header.Rows), int(header.Columns)


def _displayed(source: Path, longest_side_px: int) -> Image.Image:
    image = Image.fromarray(load_displayed(source, DecodeLimits()).pixels)
    image.thumbnail((longest_side_px, longest_side_px), Image.Resampling.LANCZOS)
    return image


def _radvlm(source: Path) -> Image.Image:
    """RadVLM's rendering: whole stored range to 8 bits, squashed to 512 x 512.

    MONOCHROME1 stays inverted, rescale and window are ignored, the range is stretched only where the stored
    type is unsigned 16 bits (so 8-bit values in 16-bit words are stretched, signed ones fail), and the ratio of
    the sides is lost.
    """
    stored = dcmread(source).pixel_array
    if stored.dtype == np.uint16:
        low, high = stored.min(), stored.max()
        stored = ((stored - low) / (high - low) * 255.0).astype(np.uint8)
    return Image.fromarray(stored).resize((RADVLM_SIZE_PX, RADVLM_SIZE_PX), Image.Resampling.LANCZOS)


def _write(target: Path, image: Image.Image, radvlm_compat: bool) -> None:
    """Whole or not at all: a file that exists counts as done. The reference saves with Pillow's quality, 75."""
    fresh = target.with_suffix(".part")
    options = {} if radvlm_compat else {"quality": _QUALITY}
    image.save(fresh, format="JPEG", **options)
    os.replace(fresh, target)
