"""Decode one file and display it; runs inside the limited child process only."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import pixel_array

from clinical import Permanent, Quarantine
from imaging.display import display
from imaging.display_facts import display_facts
from imaging.flavours import Flavour
from imaging.header import require_identity, state_transfer_syntax

_GREY = frozenset({"MONOCHROME1", "MONOCHROME2"})
_COLOUR = frozenset({"RGB", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT"})
# Lossy colour compression moves the channels of a grey image apart by a few levels.
_GREY_SPREAD = 4 / 255


def decode(arguments: dict[str, Any]) -> tuple[dict[str, Any], memoryview]:
    """Displayed pixels of the file ``arguments["path"]`` with at most ``arguments["max_pixels"]`` pixels.

    Returns
    -------
    tuple
        ``{"rows": int, "columns": int, "steps": [str], "linear_range": [float, float] | None}`` and the uint8
        pixels in row order; after them those of the picture for a model, where ``arguments["flavour"]`` asks for one.

    Raises
    ------
    Permanent, Quarantine
        As `imaging.load_displayed` documents them.
    """
    dataset = dcmread(Path(arguments["path"]), force=True)
    require_identity(dataset)
    state_transfer_syntax(dataset)
    _check(dataset, int(arguments["max_pixels"]))
    stored = _grey_values(dataset)
    little_endian = bool(dataset.original_encoding[1])
    flavour = Flavour(arguments["flavour"])
    displayed = display(stored, display_facts(dataset, little_endian=little_endian), flavour)
    facts = {
        "rows": displayed.rows,
        "columns": displayed.columns,
        "steps": list(displayed.steps),
        "linear_range": displayed.linear_range,
    }
    pictures = [displayed.pixels] if displayed.for_model is None else [displayed.pixels, displayed.for_model]
    return facts, np.ascontiguousarray(np.stack(pictures)).data.cast("B")


def digest(arguments: dict[str, Any]) -> tuple[dict[str, Any], memoryview]:
    """SHA-256 of the stored pixel values of the file ``arguments["path"]``, whatever they were compressed with.

    Raises
    ------
    Permanent, Quarantine
        As `decode` does.
    """
    dataset = dcmread(Path(arguments["path"]), force=True)
    require_identity(dataset)
    state_transfer_syntax(dataset)
    _check(dataset, int(arguments["max_pixels"]))
    stored = _grey_values(dataset)
    # Values, not bytes: another encoding may store the same values in another byte order or width.
    values = np.ascontiguousarray(stored.astype(np.int64))
    facts = {"sha256": hashlib.sha256(repr(values.shape).encode("ascii") + values.tobytes()).hexdigest()}
    return facts, memoryview(b"")


def _check(dataset: Dataset, max_pixels: int) -> None:
    """Refuse by header alone, before anything is decoded."""
    if "PixelData" not in dataset or not len(dataset.PixelData):
        if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
            raise Permanent("unsupported-pixel-format", "floating-point pixel data is not a radiograph")
        raise Quarantine("no-pixel-data", "the object has no pixel data", tag="(7FE0,0010)")
    rows, columns = (int(dataset.get(keyword) or 0) for keyword in ("Rows", "Columns"))
    if rows < 1 or columns < 1:
        raise Quarantine("no-image-size", "rows or columns are missing", tag="(0028,0010)")
    samples, frames = (int(dataset.get(keyword) or 1) for keyword in ("SamplesPerPixel", "NumberOfFrames"))
    if rows * columns * max(samples, 1) * max(frames, 1) > max_pixels:
        raise Quarantine("too-many-pixels", "the image has more pixels than the limit", tag="(0028,0010)")
    if frames > 1:
        raise Permanent(
            "multi-frame", "the object holds several frames, not one radiograph", tag="(0028,0008)"
        )
    photometric = str(dataset.get("PhotometricInterpretation") or "")
    if photometric not in _GREY | _COLOUR:
        raise Quarantine("unknown-photometric", "unknown photometric interpretation", tag="(0028,0004)")


def _grey_values(dataset: Dataset) -> NDArray[Any]:
    try:
        stored: NDArray[Any] = pixel_array(dataset, index=0)
    except NotImplementedError:
        raise Permanent(
            "unsupported-transfer-syntax", "no decoder for this transfer syntax", tag="(0002,0010)"
        ) from None
    if str(dataset.PhotometricInterpretation) == "PALETTE COLOR":
        stored = apply_color_lut(stored, dataset)
    if stored.ndim == 2:
        return _without_overlay_bits(stored, dataset)
    spread = int(np.iinfo(stored.dtype).max * _GREY_SPREAD)
    for row in stored:
        if int(np.max(row.max(axis=-1).astype(np.int64) - row.min(axis=-1))) > spread:
            raise Permanent(
                "colour-image", "the image has colours, so it is not a plain radiograph", tag="(0028,0004)"
            )
    return np.ascontiguousarray(stored[..., 1])


def _without_overlay_bits(stored: NDArray[Any], dataset: Dataset) -> NDArray[Any]:
    """Stored values without overlay planes kept in their unused bits (retired; PS3.5 8.1.2, (60xx,0102))."""
    if stored.dtype.kind not in "iu" or not any(
        int(dataset[group, 0x0102].value or 0) > 0
        for group in range(0x6000, 0x6020, 2)
        if (group, 0x0102) in dataset and (group, 0x3000) not in dataset
    ):
        return stored
    unused = stored.dtype.itemsize * 8 - int(dataset.BitsStored)
    shifted: NDArray[Any] = np.right_shift(np.left_shift(stored, unused), unused)
    return shifted
