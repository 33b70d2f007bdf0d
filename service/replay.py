"""A saved Draft read once more: same package, image and question must give the same bytes on the same provider."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from pydantic import TypeAdapter

from clinical import Draft, ModelIdentity, Reading
from inference import Model
from service.study_reading import ImageFile, ReadingTerms, read_study

_READING = TypeAdapter(Reading)
# What a Reading says beside when and how long it was made.
_COMPARED = ("exchanges", "findings", "sentences", "not_assessed", "checks", "critical")
# Of the model and the device on the day of the reading, not of the image: the next trial is another one.
_STANDING = ("canary", "drift")


@dataclass(frozen=True, slots=True)
class ReplayedImage:
    """One image's Reading as it was saved and as it is now.

    Attributes
    ----------
    saved_sha256, replayed_sha256
        Of the Reading's JSON without its times and without the trial's and the drift's checks; the second empty where
        the image has no Reading now.
    differing
        Parts of the Reading that are not the same.
    """

    image: int
    saved_sha256: str
    replayed_sha256: str
    differing: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether every byte is."""
        return self.saved_sha256 == self.replayed_sha256


@dataclass(frozen=True, slots=True)
class Replay:
    """A Draft's replay.

    Attributes
    ----------
    changed
        What of the model and its configuration is not as it was, so that other bytes would be no surprise.
    """

    version: int
    changed: tuple[str, ...]
    images: tuple[ReplayedImage, ...]

    @property
    def same(self) -> bool:
        """Whether every Reading is the same to the byte."""
        return all(image.same for image in self.images)


def replay(draft: Draft, files: Sequence[ImageFile], model: Model, terms: ReadingTerms) -> Replay:
    """Read a Draft's images again and compare.

    Parameters
    ----------
    files
        The study's files; those of images that have no Reading are not read.
    """
    read = {reading.image.sop_instance_uid: reading for reading in draft.readings}
    wanted = [file for file in files if file.sop_instance_uid in read]
    again = read_study(draft.study_instance_uid, draft.version, wanted, model, terms).draft
    now = {reading.image.sop_instance_uid: reading for reading in again.readings}
    images = tuple(
        _compared(number, saved, now.get(saved.image.sop_instance_uid))
        for number, saved in enumerate(draft.readings, start=1)
    )
    return Replay(draft.version, _changed(draft, model.identity, terms), images)


def _compared(number: int, saved: Reading, again: Reading | None) -> ReplayedImage:
    saved = _of_the_image(saved)
    if again is None:
        return ReplayedImage(number, _sha256(saved), "", ("no reading now",))
    again = _of_the_image(again)
    differing = tuple(name for name in _COMPARED if getattr(saved, name) != getattr(again, name))
    return ReplayedImage(number, _sha256(saved), _sha256(again), differing)


def _of_the_image(reading: Reading) -> Reading:
    own = tuple(check for check in reading.checks if check.name.partition("-")[0] not in _STANDING)
    return replace(reading, checks=own)


def _sha256(reading: Reading) -> str:
    return hashlib.sha256(_READING.dump_json(replace(reading, stage_s=()))).hexdigest()


def _changed(draft: Draft, identity: ModelIdentity, terms: ReadingTerms) -> tuple[str, ...]:
    names = [field.name for field in fields(ModelIdentity)]
    changed = [name for name in names if getattr(draft.model, name) != getattr(identity, name)]
    if draft.configuration_sha256 != terms.configuration_sha256:
        changed.append("configuration")
    if draft.product_version != terms.product_version:
        changed.append("product version")
    return tuple(changed)
