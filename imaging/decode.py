"""From a file to the displayed image, without ever decoding untrusted pixels in this process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import AllTransferSyntaxes

from clinical import Transient
from imaging.displayed import DisplayedImage
from imaging.flavours import Flavour
from imaging.limited_process import run_limited
from imaging.limits import DecodeLimits

_DECODE = "imaging.decode_child:decode"
_DIGEST = "imaging.decode_child:digest"
_STANDARD = DecodeLimits()


def load_displayed(
    path: Path, limits: DecodeLimits = _STANDARD, flavour: Flavour = Flavour.CLINICAL
) -> DisplayedImage:
    """Decode and display one image in a separate short-lived process.

    May be called from several threads at once; each call has its own process, which is gone when the call ends.

    Parameters
    ----------
    path
        DICOM file, with or without preamble.
    limits
        What the image may cost.
    flavour
        How the picture for a model is made.

    Raises
    ------
    Quarantine
        ``decode-timeout``, ``decode-memory``, ``decode-crashed``, ``decode-failed``, ``too-many-pixels``,
        ``no-pixel-data``, ``no-image-size``, ``unknown-photometric``.
    Permanent
        ``unsupported-transfer-syntax``, ``unsupported-pixel-format``, ``colour-image``, ``multi-frame``.
    Transient
        ``file-unreadable``, ``decode-interrupted``, ``decode-unavailable``.
    """
    arguments = {"path": _readable(path), "max_pixels": limits.max_pixels, "flavour": flavour.value}
    reply = run_limited(_DECODE, arguments, limits)
    pictures = np.frombuffer(reply.payload, dtype=np.uint8)
    pictures = pictures.reshape((-1, int(reply.facts["rows"]), int(reply.facts["columns"])))
    stated = reply.facts["linear_range"]
    linear_range = None if stated is None else (float(stated[0]), float(stated[1]))
    for_model = None if flavour is Flavour.CLINICAL else pictures[1]
    return DisplayedImage(pictures[0], tuple(reply.facts["steps"]), linear_range, flavour, for_model)


def stored_pixels_sha256(path: Path, limits: DecodeLimits = _STANDARD) -> str:
    """SHA-256 of an image's stored pixel values, the same for every lossless encoding of them.

    Raises as `load_displayed` does.
    """
    arguments = {"path": _readable(path), "max_pixels": limits.max_pixels}
    return str(run_limited(_DIGEST, arguments, limits).facts["sha256"])


def _readable(path: Path) -> str:
    try:
        with path.open("rb"):
            return str(path.absolute())
    except OSError as error:
        raise Transient("file-unreadable", f"the image file cannot be read: {type(error).__name__}") from None


def decodable_transfer_syntaxes() -> tuple[str, ...]:
    """UIDs of the transfer syntaxes this installation has a pixel decoder for."""
    decodable = []
    for uid in AllTransferSyntaxes:
        try:
            available = get_decoder(uid).is_available
        except NotImplementedError:
            continue
        if available:
            decodable.append(str(uid))
    return tuple(decodable)
