"""Frames as they are stored (PS3.18 section 10.4.1.1.6), and pictures of them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.encaps import get_frame
from pydicom.pixels.utils import get_expected_length
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from clinical import Permanent, Quarantine
from imaging import DecodeLimits, load_displayed, read_header
from service.book.catalogue import Found, Source
from service.http.dicomweb.media_types import OCTETS

# PS3.18 Table 8.7.3-5: media types of compressed frames, by the end of the transfer syntax's UID.
_COMPRESSED = {
    "1.2.840.10008.1.2.5": "image/dicom-rle",
    **{f"1.2.840.10008.1.2.4.{part}": "image/jpeg" for part in (50, 51, 57, 70)},
    **{f"1.2.840.10008.1.2.4.{part}": "image/jls" for part in (80, 81)},
    **{f"1.2.840.10008.1.2.4.{part}": "image/jp2" for part in (90, 91)},
    **{f"1.2.840.10008.1.2.4.{part}": "image/jphc" for part in (201, 202, 203)},
    **{f"1.2.840.10008.1.2.4.{part}": "image/jxl" for part in (110, 111, 112)},
}
_NATIVE = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian)
_JPEG_QUALITY = 90


@dataclass(frozen=True, slots=True)
class StoredFrames:
    """Frames of one object, in the order asked for.

    Attributes
    ----------
    media_type, transfer_syntax_uid
        What the bytes are; ``application/octet-stream`` for uncompressed little-endian samples.
    """

    media_type: str
    transfer_syntax_uid: str
    frames: tuple[bytes, ...]


def stored_frames(path: Path, numbers: Sequence[int]) -> StoredFrames:
    """Frames by their numbers, which count from 1.

    Raises
    ------
    Permanent
        ``no-such-frame``, or ``frames-not-given`` for an encoding whose frames cannot be told apart here.
    Quarantine
        ``unreadable-header`` or ``pixels-malformed``.
    """
    header = read_header(path)
    syntax = header.file_meta.TransferSyntaxUID
    count = _frame_count(header)
    if not numbers or any(not 1 <= number <= count for number in numbers):
        raise Permanent("no-such-frame", f"the object has {count} frames")
    if syntax == DeflatedExplicitVRLittleEndian or (syntax not in _NATIVE and syntax not in _COMPRESSED):
        raise Permanent("frames-not-given", "frames of this transfer syntax are not given one by one")
    try:
        dataset = dcmread(path, force=True)
        if syntax in _NATIVE:
            frames = _native(dataset, count, numbers, swap=syntax == ExplicitVRBigEndian)
            return StoredFrames(OCTETS, str(ExplicitVRLittleEndian), frames)
        taken = (get_frame(dataset.PixelData, number - 1, number_of_frames=count) for number in numbers)
        return StoredFrames(_COMPRESSED[syntax], str(syntax), tuple(taken))
    except Permanent:
        raise
    except Exception as error:
        # A library's text may quote the data set.
        raise Quarantine("pixels-malformed", f"the frames cannot be read: {type(error).__name__}") from None


def _frame_count(header: Dataset) -> int:
    if not header.get("Rows") or not header.get("Columns"):
        return 0
    return max(int(header.get("NumberOfFrames") or 1), 1)


def _native(dataset: Dataset, count: int, numbers: Sequence[int], *, swap: bool) -> tuple[bytes, ...]:
    length = get_expected_length(dataset, unit="bytes")
    pixels = dataset.PixelData
    if length % count or len(pixels) < length:
        raise Permanent("frames-not-given", "the pixel data is not as long as its header says")
    size = length // count
    if swap and int(dataset.BitsAllocated) > 8:
        wide = np.dtype(f">u{int(dataset.BitsAllocated) // 8}")
        pixels = np.frombuffer(pixels[:length], wide).astype(wide.newbyteorder("<")).tobytes()
    return tuple(pixels[(number - 1) * size : number * size] for number in numbers)


def rendered(
    found: Found, path: Path, limits: DecodeLimits, *, is_png: bool, longest_px: tuple[int, int] | None
) -> bytes:
    """The object as a picture: a radiograph by the display pipeline, our own Secondary Capture as it is.

    Parameters
    ----------
    longest_px
        Width and height the picture must fit into; None for the stored size.

    Raises
    ------
    RadDraftError
        What `imaging.load_displayed` raises; colours of other makers are not shown.
    """
    if found.source is Source.RESULT:
        picture = _own_picture(path)
    else:
        picture = Image.fromarray(load_displayed(path, limits).pixels)
    if longest_px is not None:
        picture.thumbnail(longest_px)
    written = io.BytesIO()
    if is_png:
        picture.save(written, "PNG")
    else:
        picture.save(written, "JPEG", quality=_JPEG_QUALITY)
    return written.getvalue()


def _own_picture(path: Path) -> Image.Image:
    dataset = dcmread(path)
    if "PixelData" not in dataset:
        raise Permanent("no-picture", "the object has no pixels to show")
    return Image.fromarray(dataset.pixel_array)
