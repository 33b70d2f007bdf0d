"""Images whose findings are known, shipped with a package or named by a site: what a model is tried on every day."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clinical import Permanent
from inference.manifest import CANARY_FILE, ModelPackage


@dataclass(frozen=True, slots=True, eq=False)
class KnownImage:
    """A picture and what is known of it.

    Attributes
    ----------
    pixels
        uint8 (rows, columns), 0 is black, as the model reads it.
    present, absent
        Labels that are there and that are not; one in neither is not known.
    """

    pixels: NDArray[np.uint8]
    present: frozenset[str]
    absent: frozenset[str]


def known_images_bytes(images: Sequence[KnownImage]) -> bytes:
    """File of known images, as a package holds it."""
    document = json.dumps([{"present": sorted(i.present), "absent": sorted(i.absent)} for i in images])
    arrays = {f"image_{number}": image.pixels for number, image in enumerate(images)}
    file = io.BytesIO()
    text = np.frombuffer(document.encode("utf-8"), dtype=np.uint8)
    np.savez_compressed(file, document=text, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def known_images_of(package: ModelPackage) -> tuple[KnownImage, ...]:
    """A package's known images; none where it ships none.

    Raises
    ------
    Permanent
        ``package-damaged``.
    """
    if CANARY_FILE not in package.manifest.files:
        return ()
    path: Path = package.folder / CANARY_FILE
    try:
        with np.load(path, allow_pickle=False) as arrays:
            entries = json.loads(arrays["document"].tobytes())
            return tuple(
                KnownImage(arrays[f"image_{number}"], frozenset(entry["present"]), frozenset(entry["absent"]))
                for number, entry in enumerate(entries)
            )
    except (OSError, ValueError, KeyError) as error:
        raise Permanent("package-damaged", f"{path} holds no known images of this version") from error
