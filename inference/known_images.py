"""Images whose findings are known, shipped with a package or named by a site: what a model is tried on every day."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clinical import Permanent
from inference.manifest import CANARY_FILE, MANIFEST_FILE, ModelPackage


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


def with_known_labels(image: KnownImage, labels: Sequence[str]) -> KnownImage:
    """The image with those of its findings the model knows, spelled as it names them."""
    known = {label.lower(): label for label in labels}
    kinds = (
        frozenset(known[label.lower()] for label in kind if label.lower() in known)
        for kind in (image.present, image.absent)
    )
    return KnownImage(image.pixels, *kinds)


def trial_images(images: Sequence[KnownImage], labels: Sequence[str]) -> bytes:
    """File of known images that a model of some labels can be tried on.

    Raises
    ------
    Permanent
        ``known-images-one-sided`` where none shows, or none lacks, a finding the model knows: a constant answer would
        then pass.
    """
    named = [with_known_labels(image, labels) for image in images]
    if not any(image.present for image in named) or not any(image.absent for image in named):
        raise Permanent(
            "known-images-one-sided",
            f"known images must show some findings and lack others of those the model knows: {', '.join(labels)}",
        )
    return known_images_bytes(named)


def keep_known_images(package: ModelPackage, images: Sequence[KnownImage]) -> None:
    """Put known images into a package, in place of those it had. Its identity stays.

    Raises
    ------
    Permanent
        As `trial_images` does, or ``no-model-package`` where the package cannot be written.
    """
    content = trial_images(images, package.manifest.labels)
    listed = dict(package.manifest.files)
    try:
        # A package that is interrupted here is one without known images, never one with other bytes than it says.
        _write_manifest(package.folder, {name: sha for name, sha in listed.items() if name != CANARY_FILE})
        _write_whole(package.folder / CANARY_FILE, content)
        _write_manifest(package.folder, listed | {CANARY_FILE: hashlib.sha256(content).hexdigest()})
    except OSError as error:
        raise Permanent(
            "no-model-package", f"{package.folder} cannot be written: {error.strerror}"
        ) from error


def _write_manifest(folder: Path, files: Mapping[str, str]) -> None:
    path = folder / MANIFEST_FILE
    manifest = json.loads(path.read_text(encoding="utf-8")) | {"files": files}
    _write_whole(path, (json.dumps(manifest, indent=2, sort_keys=True) + "\n").encode("utf-8"))


def _write_whole(path: Path, content: bytes) -> None:
    beside = path.with_name(f"{path.name}.part")
    beside.write_bytes(content)
    os.replace(beside, path)
