"""Studies of every kind of result with every object made of them, read by the product itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from pydicom import dcmread
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from clinical import CriticalFinding, Draft, DraftOutcome, NotAssessed
from imaging import DecodeLimits
from inference import Model
from raddraft import __version__ as VERSION
from reporting import (
    ALL_KINDS,
    ALL_SR_CLASSES,
    Artefact,
    RejectionReason,
    ResultReference,
    as_artefact,
    build_faces,
    build_rejection,
    overlay_png,
)
from service.study_reading import ImageFile, ReadingTerms, StudyReading, failed_draft, read_study
from training.phantoms.dicom import VARIANTS, phantom_dataset

# Kind of the studies that are no phantoms.
REAL = "real radiograph"

_TERMS = ReadingTerms(DecodeLimits(timeout_s=60), 120, "0" * 64, VERSION)
_SIZE_PX = 512
# Seeds whose readings by the embedded model are of the kind wanted are looked for from here on.
_FIRST_SEED, _SEEDS = 9_700_010, 60


@dataclass(frozen=True, slots=True)
class Study:
    """One study's result in every face.

    Attributes
    ----------
    kind
        ``"several findings"``, ``"one finding"``, ``"no finding"``, ``"not assessed"``, ``"failed"``, ``"replaced"`` or
        ``"real radiograph"``.
    images
        Files of the source images.
    objects
        Files of the results with their kinds.
    """

    kind: str
    draft: Draft
    images: tuple[Path, ...]
    objects: tuple[tuple[str, Path], ...]
    overlays: tuple[Path, ...]

    def of(self, *kinds: str) -> list[Path]:
        """Files of the objects of these kinds."""
        return [path for kind, path in self.objects if kind in kinds]


def phantom_studies(model: Model, folder: Path) -> Iterator[Study]:
    """One study of each kind of result, and a second version that replaces a first."""
    wanted = {"several findings", "one finding", "no finding"}
    for seed in range(_FIRST_SEED, _FIRST_SEED + _SEEDS):
        if not wanted:
            break
        variant = VARIANTS[seed % len(VARIANTS)]
        path = _phantom(folder / f"phantom-{seed}.dcm", seed, variant_index=seed % len(VARIANTS))
        read = _read(model, [path])
        kind = _kind(read.draft)
        if kind in wanted and variant is not None:
            wanted.discard(kind)
            if kind == "several findings":
                read = replace(read, draft=_critical(read.draft))
            yield _study(kind, read, [path], folder / kind.replace(" ", "-"))
            if kind == "several findings":
                yield _replaced(read, [path], folder / "replaced")
    lateral = _phantom(folder / "lateral.dcm", _FIRST_SEED - 1, variant_index=0, ViewPosition="LL")
    yield _study("not assessed", _read(model, [lateral]), [lateral], folder / "not-assessed")
    path = _phantom(folder / "failed.dcm", _FIRST_SEED - 2, variant_index=1)
    reason = NotAssessed("study", "engine-stalled", "the engine made no step for 60 s, three times")
    header = dcmread(path, stop_before_pixels=True)
    file = ImageFile(str(header.SOPInstanceUID), path)
    failed = failed_draft(str(header.StudyInstanceUID), 1, [file], reason, model, _TERMS)
    yield _study("failed", failed, [path], folder / "failed")


def real_studies(model: Model, files: Sequence[Path], folder: Path) -> Iterator[Study]:
    """Every real radiograph as a study of its own, by number: nothing of its header becomes a file name."""
    for number, path in enumerate(files, start=1):
        image = _as_file(path, folder / f"real-{number}.dcm")
        yield _study(REAL, _read(model, [image]), [image], folder / f"real-{number}")


def _as_file(path: Path, target: Path) -> Path:
    """A DICOM file of what may be a bare data set, as archives send them to disk."""
    dataset = dcmread(path, force=True)
    if "TransferSyntaxUID" in dataset.file_meta:
        return path
    implicit, little = dataset.original_encoding
    endian = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else endian
    dataset.save_as(target, enforce_file_format=True)
    return target


def _phantom(path: Path, seed: int, *, variant_index: int, **attributes: str) -> Path:
    dataset, _ = phantom_dataset(seed, VARIANTS[variant_index], _SIZE_PX)
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


def _read(model: Model, paths: Sequence[Path]) -> StudyReading:
    headers = [dcmread(path, stop_before_pixels=True, force=True) for path in paths]
    files = [ImageFile(str(h.SOPInstanceUID), path) for h, path in zip(headers, paths, strict=True)]
    return read_study(str(headers[0].StudyInstanceUID), 1, files, model, _TERMS)


def _critical(draft: Draft) -> Draft:
    """The Draft with its first finding raised by the critical-finding channel, whatever that finding is."""
    first = next(finding for reading in draft.readings for finding in reading.present)
    raised = (CriticalFinding(first.label.name, ("report",), None, "1"),)
    readings = tuple(
        replace(reading, critical=raised) if first in reading.findings else reading
        for reading in draft.readings
    )
    return replace(draft, readings=readings, critical=raised)


def _kind(draft: Draft) -> str:
    boxed = sum(bool(f.boxes) for reading in draft.readings for f in reading.present)
    if draft.outcome is DraftOutcome.FINDINGS and boxed:
        return "several findings" if boxed > 1 else "one finding"
    return "no finding" if draft.outcome is DraftOutcome.NO_FINDINGS else ""


def _study(
    kind: str,
    read: StudyReading,
    images: Sequence[Path],
    folder: Path,
    earlier: Sequence[ResultReference] = (),
) -> Study:
    folder.mkdir(parents=True)
    built = build_faces(read.draft, read.sources, kinds=ALL_KINDS, sr_classes=ALL_SR_CLASSES, earlier=earlier)
    objects = [_written(folder, number, artefact) for number, artefact in enumerate(built, start=1)]
    overlays = []
    for number, reading in enumerate(read.draft.readings, start=1):
        source = read.sources[reading.image.sop_instance_uid]
        if source.radiograph is not None:
            overlays.append(folder / f"overlay-{number}.png")
            overlays[-1].write_bytes(overlay_png(reading, source))
    return Study(kind, read.draft, tuple(images), tuple(objects), tuple(overlays))


def _replaced(read: StudyReading, images: Sequence[Path], folder: Path) -> Study:
    """Version 2 of a Draft, which names version 1 as its predecessor, and the rejections of version 1."""
    first = build_faces(read.draft, read.sources, kinds=ALL_KINDS, sr_classes=ALL_SR_CLASSES)
    earlier = [
        ResultReference(
            a.kind, read.draft.study_instance_uid, a.series_instance_uid, a.sop_class_uid, a.sop_instance_uid
        )
        for a in first
    ]
    later = read.draft.completed_at_utc + timedelta(minutes=5)
    second = replace(read, draft=replace(read.draft, version=2, completed_at_utc=later))
    study = _study("replaced", second, images, folder, earlier)
    header = dcmread(images[0], stop_before_pixels=True)
    taken = [
        as_artefact(
            "ko",
            build_rejection(
                read.draft, earlier, header, destination="pacs", reason=reason, words="Replaced", at_utc=later
            ),
        )
        for reason in RejectionReason
    ]
    start = len(study.objects) + 1
    written = [_written(folder, number, artefact) for number, artefact in enumerate(taken, start=start)]
    return replace(study, objects=(*study.objects, *written))


def _written(folder: Path, number: int, artefact: Artefact) -> tuple[str, Path]:
    path = folder / f"{number:02d}-{artefact.kind}.dcm"
    path.write_bytes(artefact.content)
    return artefact.kind, path
