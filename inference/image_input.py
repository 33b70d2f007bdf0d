"""What may be given to a model as an image, and the grayscale it reads of it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clinical import ImageRef, Permanent, derived_uid
from imaging import DisplayedImage, Flavour, load_displayed

ImageLike = DisplayedImage | NDArray[np.uint8] | str | Path
_PICTURES = {".png", ".jpg", ".jpeg"}


def gray_of(image: ImageLike, flavour: Flavour) -> NDArray[np.uint8]:
    """What the model reads of an image; pictures and arrays are taken as they are."""
    if isinstance(image, DisplayedImage):
        return image.seen_by(flavour)
    if isinstance(image, np.ndarray):
        if image.ndim != 2 or image.dtype != np.uint8:
            raise Permanent("not-a-gray-image", "an array must be uint8 with shape (rows, columns)")
        return image
    path = Path(image)
    if path.suffix.lower() in _PICTURES:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("L"))
    return load_displayed(path, flavour=flavour).seen_by(flavour)


def sized(ref: ImageRef | None, gray: NDArray[np.uint8]) -> ImageRef:
    """What a Reading of these pixels refers to: `ref` with their size, or one made up from them."""
    rows, columns = int(gray.shape[0]), int(gray.shape[1])
    if ref is not None:
        # The displayed matrix is the stored one: boxes are in its pixels.
        return replace(ref, rows=rows, columns=columns)
    uid = derived_uid("pixels", hashlib.sha256(gray.tobytes()).hexdigest())
    return ImageRef(uid, "", "", rows, columns, "", "MONOCHROME2")
