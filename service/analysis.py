"""`raddraft analyze`: DICOM files in, every face of every result out, without a network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset

from clinical import Draft, DraftOutcome, Permanent, RadDraftError
from dicom_node.candidates import classify, ignored_sentence
from imaging import read_header
from inference import Model
from service.book.patient_numbers import contradict
from service.book.settling import SEVERAL_PATIENTS, Named
from service.book.states import InstanceState
from service.destinations import Destination, FaceTerms, faces_for, write_whole
from service.faces import Face
from service.study_reading import ImageFile, ReadingTerms, StudyReading, read_study


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """A file that was not read as an image of a study, and why."""

    path: Path
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class StudyResult:
    """One study's folder and what is in it."""

    folder: Path
    study_instance_uid: str
    outcome: DraftOutcome
    draft: Draft
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Analysis:
    """Everything `analyze` did."""

    studies: tuple[StudyResult, ...]
    others: tuple[FileOutcome, ...]


def dicom_files(paths: Sequence[Path]) -> Iterator[Path]:
    """Every regular file among `paths` and below the folders among them, in a stable order.

    Raises
    ------
    Permanent
        ``no-such-path`` naming the first path that does not exist.
    """
    for path in paths:
        if path.is_dir():
            yield from sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
        elif path.is_file():
            yield path
        else:
            raise Permanent("no-such-path", f"there is no file or folder {path}")


def analyze_paths(
    paths: Sequence[Path],
    out_dir: Path,
    model: Model,
    terms: ReadingTerms,
    faces: FaceTerms,
    folder: Destination,
    *,
    own_manufacturer: str,
    progress: Callable[[str], None] = lambda _: None,
) -> Analysis:
    """Read every chest radiograph among `paths` and write one sub-folder per study.

    Parameters
    ----------
    own_manufacturer
        Manufacturer (0008,0070) by which our own results are known and left out.

    Raises
    ------
    Permanent
        ``no-such-path`` or ``no-dicom`` if there is nothing to work on.
    """
    studies, others = _sort(dicom_files(paths), own_manufacturer)
    if not studies and not others:
        raise Permanent("no-dicom", "no file was found; name DICOM files or folders that hold some")
    results = []
    for number, (uid, files) in enumerate(studies.items(), start=1):
        progress(f"study {number} of {len(studies)}")
        reading = read_study(uid, 1, files, model, terms)
        if all(image.state is InstanceState.IGNORED for image in reading.images):
            others += [
                FileOutcome(f.path, i.code, i.reason) for f, i in zip(files, reading.images, strict=True)
            ]
            continue
        if contradict(Named.by(i.header for i in reading.images if i.header is not None).patients):
            others += [FileOutcome(f.path, *SEVERAL_PATIENTS) for f in files]
            continue
        results.append(_write(uid, reading, out_dir, faces, folder))
    return Analysis(tuple(results), tuple(others))


def _sort(
    paths: Iterable[Path], own_manufacturer: str
) -> tuple[dict[str, list[ImageFile]], list[FileOutcome]]:
    studies: dict[str, list[ImageFile]] = {}
    others: list[FileOutcome] = []
    for path in paths:
        try:
            header = read_header(path)
        except RadDraftError as error:
            others.append(FileOutcome(path, error.code, error.message))
            continue
        code = classify(header, own_manufacturer=own_manufacturer)
        uid = _uid(header, "StudyInstanceUID")
        if code:
            others.append(FileOutcome(path, code, ignored_sentence(code)))
        elif not uid or not _uid(header, "SOPInstanceUID"):
            others.append(FileOutcome(path, "no-uid", "the file names no study or no SOP instance"))
        else:
            studies.setdefault(uid, []).append(ImageFile(_uid(header, "SOPInstanceUID"), path))
    return studies, others


def _uid(header: Dataset, keyword: str) -> str:
    """A UID's text where it is one (PS3.5 section 9: digits and full stops), else nothing."""
    text = str(header.get(keyword, "") or "")
    return text if text and set(text) <= set("0123456789.") else ""


def _write(
    uid: str, reading: StudyReading, out_dir: Path, terms: FaceTerms, destination: Destination
) -> StudyResult:
    faces, unmatched = faces_for(reading.draft, reading.sources, (destination,), terms)
    folder = out_dir / uid
    for face in faces:
        write_whole(folder / face.file_name, face.content)
    if unmatched:
        note = "\n".join(f"{miss.code}: {miss.reason}" for miss in unmatched)
        faces.append(Face("note", "fhir_not_written.txt", note.encode()))
        write_whole(folder / "fhir_not_written.txt", note.encode())
    names = tuple(face.file_name for face in faces)
    return StudyResult(folder, uid, reading.draft.outcome, reading.draft, names)
