"""What the hospital of a rehearsal sends: generated studies, some of them urgent, late, doubled or sent again."""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import FileDataset
from pydicom.uid import generate_uid

from training.phantoms.dicom import VARIANTS, phantom_dataset

# Drawing takes longer than anything else here: studies share their pictures, never their identities.
_PICTURES = 12
_FIRST_SEED = 9_700_000
_STAT_SHARE, _LATE_SHARE, _DOUBLED_SHARE, _AGAIN_SHARE = 0.1, 0.06, 0.05, 0.05


@dataclass(frozen=True, slots=True)
class Image:
    """One object to send."""

    path: Path
    sop_instance_uid: str
    study_instance_uid: str


@dataclass(frozen=True, slots=True)
class Study:
    """One study and how it comes.

    Attributes
    ----------
    is_stat
        Sent with priority HIGH.
    late
        Sent when the result of the first image is back; None for most.
    is_doubled
        The first image is sent twice in one association.
    comes_again
        The whole study is sent once more when it is back.
    """

    number: int
    study_instance_uid: str
    first: Image
    late: Image | None
    is_stat: bool
    is_doubled: bool
    comes_again: bool

    @property
    def images(self) -> tuple[Image, ...]:
        """Every object of the study."""
        return (self.first,) if self.late is None else (self.first, self.late)


def write_plan(folder: Path, count: int, *, seed: int, size_px: int) -> tuple[Study, ...]:
    """Write the files of `count` studies; of a few studies each kind comes at least once."""
    pictures = [
        phantom_dataset(_FIRST_SEED + n, VARIANTS[n % len(VARIANTS)], size_px)[0]
        for n in range(min(_PICTURES, count))
    ]
    chance = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    return tuple(_write_study(folder, number, seed, pictures, chance) for number in range(count))


def _write_study(
    folder: Path, number: int, seed: int, pictures: Sequence[FileDataset], chance: random.Random
) -> Study:
    uid = str(generate_uid(entropy_srcs=["rehearsal", str(seed), str(number), "study"]))

    def drawn(share: float, first: int) -> bool:
        return chance.random() < share or number == first

    is_late = drawn(_LATE_SHARE, 1)
    images = [
        _write_image(folder, number, place, uid, pictures[(number + place) % len(pictures)])
        for place in range(2 if is_late else 1)
    ]
    return Study(
        number,
        uid,
        images[0],
        images[1] if is_late else None,
        is_stat=drawn(_STAT_SHARE, 0),
        is_doubled=drawn(_DOUBLED_SHARE, 2),
        comes_again=drawn(_AGAIN_SHARE, 3),
    )


def _write_image(folder: Path, number: int, place: int, study_uid: str, picture: FileDataset) -> Image:
    dataset = copy.deepcopy(picture)
    sop_uid = str(generate_uid(entropy_srcs=[study_uid, str(place)]))
    dataset.StudyInstanceUID = study_uid
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=[study_uid, "series", str(dataset.SOPClassUID)])
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = sop_uid
    dataset.InstanceNumber = place + 1
    dataset.PatientID, dataset.PatientName = f"RH{number:06d}", f"REHEARSAL^{number:06d}"
    dataset.AccessionNumber = f"R{number:08d}"
    path = folder / f"{number:06d}_{place}.dcm"
    dataset.save_as(path, enforce_file_format=True)
    return Image(path, sop_uid, study_uid)
