"""The images of a study as the rest of RadDraft refers to them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ImageRef:
    """One stored image, without its pixels.

    Attributes
    ----------
    sop_instance_uid, sop_class_uid, series_instance_uid
        As in the stored object.
    rows, columns
        Size of the stored pixel matrix (0028,0010), (0028,0011).
    modality
        (0008,0060), e.g. ``"DX"``.
    photometric_interpretation
        (0028,0004), e.g. ``"MONOCHROME1"``.
    view_position
        (0018,5101), upper case; empty where absent.
    file_sha256
        SHA-256 of the spool file, hexadecimal.
    """

    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str
    rows: int
    columns: int
    modality: str
    photometric_interpretation: str
    view_position: str = ""
    file_sha256: str = ""


@dataclass(frozen=True, slots=True)
class Study:
    """A study as it stood when it was read."""

    study_instance_uid: str
    images: tuple[ImageRef, ...]
