"""Command-line readers: dicom3tools, DCMTK, PixelMed, poppler."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread

from imaging import DecodeLimits, load_displayed
from tests.conformance.studies import REAL, Study
from tests.conformance.table import Verdict

Find = Callable[[str], Path]
REPORTS = ("sr", "sr-comprehensive", "sr-enhanced", "narrative", "critical", "ko")

# Paths and values inside a reader's line; what is left is the kind of its objection.
_VALUES = re.compile(rf"<[^>]*>|\[\d+\]|\b\d+(\.\d+)+\b: ?|{re.escape(gettempdir())}\S*|/work\S*|/tmp\S*")
_UNREADABLE_SOURCE = (
    "a source image as its maker sent it is unreadable to the program; our objects alone are compared"
)
# The validator keeps what it has read: a bounded number of files for each process.
_FILES_AT_ONCE = 60
_PIXELMED_JAR = "/usr/share/java/pixelmed.jar"
_PIXELMED_CHILD = Path(__file__).with_name("pixelmed_child.py")
_PIXELMED_NOTES = (
    (
        re.compile("not found in context group 100"),
        "CID 100 (baseline, extensible) does not list the procedure's LOINC code",
    ),
    (
        re.compile(r"^Warning.*\(126000,DCM,.*Content Item not in template"),
        "TID 1500 is extensible; the validator lists the items that were added to it",
    ),
)


def run(program: Path, *arguments: str | Path) -> tuple[int, str]:
    """Exit status and all output."""
    done = subprocess.run(
        [program, *arguments],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def package_version(package: str) -> str:
    """Version of a Debian package, or nothing where there is none."""
    done = subprocess.run(
        ["dpkg-query", "-W", "-f=${Version}", package], capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def dciodvfy(find: Find, studies: Sequence[Study]) -> Iterator[Verdict]:
    """IOD and module requirements of every object."""
    program = find("dciodvfy")
    reader = f"dciodvfy (dicom3tools {package_version('dicom3tools')})"
    for study in studies:
        for kind, path in study.objects:
            _, said = run(program, "-new", path)
            errors = [line for line in said.splitlines() if line.startswith(("Error", "Abort"))]
            notes = []
            if "DeviceUID" in said:
                notes.append("Device UID in Contributing Equipment (PS3.3 2019b) is newer than the program")
            if "99RADDRAFT" in said:
                notes.append("a private coding scheme designator is not one of the defined ones")
            yield Verdict(
                kind, reader, "IOD, modules", study.kind, not errors, tuple(notes), _kind_of(errors)
            )


def dcentvfy(find: Find, studies: Sequence[Study]) -> Iterator[Verdict]:
    """The same patient, study and series in every object of a study and its images."""
    program = find("dcentvfy")
    reader = f"dcentvfy (dicom3tools {package_version('dicom3tools')})"
    for study in studies:
        images = [image for image in study.images if "read failed" not in run(program, image)[1]]
        notes = () if len(images) == len(study.images) else (_UNREADABLE_SOURCE,)
        _, said = run(program, *images, *(path for _, path in study.objects))
        errors = [line for line in said.splitlines() if line.startswith("Error")]
        yield Verdict(
            "whole study", reader, "entities agree", study.kind, not errors, notes, _kind_of(errors)
        )


def dsrdump(find: Find, studies: Sequence[Study]) -> Iterator[Verdict]:
    """The content tree of every structured report and rejection."""
    program = find("dsrdump")
    reader = f"dsrdump (DCMTK {package_version('dcmtk')})"
    for study in studies:
        for kind, path in study.objects:
            if kind in REPORTS:
                status, said = run(program, path)
                flagged = kind in ("critical", "ko") or ("PRELIMINARY" in said and "UNVERIFIED" in said)
                passed = status == 0 and "<CONTAINER" in said and flagged
                yield Verdict(kind, reader, "content tree, flags", study.kind, passed, problem="not readable")


def pixelmed(find: Find, studies: Sequence[Study]) -> Iterator[Verdict]:
    """IOD and templates (PS3.16) of every structured report and rejection."""
    find("DicomSRValidator")
    reader = f"DicomSRValidator (pixelmed-apps {package_version('pixelmed-apps')})"
    # The rungs below have the tree of the report above them: their templates are checked on phantoms alone.
    objects = [
        (study, kind, path)
        for study in studies
        for kind, path in study.objects
        if kind in REPORTS and not (study.kind == REAL and kind.startswith("sr-"))
    ]
    said = validated([path for _, _, path in objects])
    for (study, kind, _), words in zip(objects, said, strict=True):
        notes, others = judged(words)
        passed = not others and "Root Template Validation Complete" in words
        problem = _kind_of(others) or ("" if passed else "the validation did not end")
        yield Verdict(kind, reader, "IOD, template", study.kind, passed, notes, problem)


def judged(words: str) -> tuple[tuple[str, ...], list[str]]:
    """Known notes among the validator's lines, and the lines that are none."""
    lines = [line for line in words.splitlines() if line.startswith(("Error", "Warning"))]
    known = {note for line in lines for pattern, note in _PIXELMED_NOTES if pattern.search(line)}
    others = [line for line in lines if not any(pattern.search(line) for pattern, _ in _PIXELMED_NOTES)]
    return tuple(sorted(known)), others


def validated(files: Sequence[Path], child: Path = _PIXELMED_CHILD) -> list[str]:
    """What the validator says of each file; it is started anew behind a file that ended it."""
    said: list[str] = []
    while len(said) < len(files):
        part = files[len(said) : len(said) + _FILES_AT_ONCE]
        done = subprocess.run(
            [sys.executable, child, _PIXELMED_JAR, *part],
            stdout=subprocess.PIPE,
            text=True,
            timeout=1800,
            check=False,
        )
        # A last line without its end was cut off: nothing is said of that file.
        lines = [line for line in done.stdout.splitlines(keepends=True) if line.endswith("\n")]
        said += [str(json.loads(line)) for line in lines]
        if len(lines) < len(part):
            said.append(f"Error: the validator ended with status {done.returncode}")
    return said


def dcmpschk(find: Find, studies: Sequence[Study]) -> Iterator[Verdict]:
    """Every presentation state."""
    program = find("dcmpschk")
    reader = f"dcmpschk (DCMTK {package_version('dcmtk')})"
    for study in studies:
        for path in study.of("pr"):
            _, said = run(program, path)
            yield Verdict("pr", reader, "GSPS", study.kind, "Test passed" in said, problem="test not passed")


def dcmp2pgm(find: Find, studies: Sequence[Study]) -> Iterator[Verdict]:
    """The radiograph through its presentation state, compared with how it was displayed when it was read."""
    program = find("dcmp2pgm")
    reader = f"dcmp2pgm (DCMTK {package_version('dcmtk')})"
    for study in studies:
        for path in study.of("pr"):
            (reference,) = dcmread(path).ReferencedSeriesSequence[0].ReferencedImageSequence
            image = next(
                one
                for one in study.images
                if dcmread(one, stop_before_pixels=True, force=True).SOPInstanceUID
                == reference.ReferencedSOPInstanceUID
            )
            likeness = _likeness(program, image, path)
            yield Verdict(
                "pr",
                reader,
                "rendered as it was read (correlation at least 0.98)",
                study.kind,
                likeness >= 0.98,
                problem=f"correlation {likeness:.2f}",
            )


def _likeness(program: Path, image: Path, state: Path) -> float:
    with TemporaryDirectory() as folder:
        grey = Path(folder) / "grey.pgm"
        source = _part_10(image, Path(folder))
        run(program, "-p", state, source, grey)
        if not grey.is_file():
            return 0.0
        rendered = np.asarray(Image.open(grey).convert("L"), dtype=np.float64)
    shown = load_displayed(image, DecodeLimits(timeout_s=60)).pixels
    if rendered.shape != shown.shape:
        return 0.0
    start = shown.shape[0] // 8
    return float(np.corrcoef(rendered[start:].ravel(), shown[start:].astype(float).ravel())[0, 1])


def _part_10(image: Path, folder: Path) -> Path:
    """The image uncompressed, as DCMTK's renderer needs it."""
    dataset = dcmread(image, force=True)
    if "TransferSyntaxUID" in dataset.file_meta and dataset.file_meta.TransferSyntaxUID.is_compressed:
        dataset.decompress()
        path = folder / "image.dcm"
        dataset.save_as(path, enforce_file_format=True)
        return path
    return image


def plain_viewer(find: Find, studies: Sequence[Study]) -> Iterator[Verdict]:
    """Every picture in DCMTK's converter: its pixels are those that were written."""
    program = find("dcm2pnm")
    reader = f"dcm2pnm (DCMTK {package_version('dcmtk')})"
    for study in studies:
        for kind, path in study.objects:
            if kind not in ("sc", "summary"):
                continue
            with TemporaryDirectory() as folder:
                shown = Path(folder) / "shown.ppm"
                run(program, path, shown)
                same = shown.is_file() and np.array_equal(
                    np.asarray(Image.open(shown)), dcmread(path).pixel_array
                )
            yield Verdict(kind, reader, "pixels", study.kind, bool(same), problem="other pixels")


def poppler(find: Find, studies: Sequence[Study]) -> Iterator[Verdict]:
    """Every PDF page: its banner can be read, and it shows something."""
    to_text, to_pixels = find("pdftotext"), find("pdftoppm")
    reader = f"pdftotext, pdftoppm (poppler-utils {package_version('poppler-utils')})"
    for study in studies:
        for path in study.of("pdf"):
            with TemporaryDirectory() as folder:
                pdf = Path(folder) / "report.pdf"
                pdf.write_bytes(dcmread(path).EncapsulatedDocument)
                _, said = run(to_text, pdf, "-")
                run(to_pixels, "-r", "30", "-png", pdf, Path(folder) / "page")
                pages = [
                    np.asarray(Image.open(p).convert("RGB")) for p in sorted(Path(folder).glob("page*.png"))
                ]
            texts = said.split("\f")[: len(pages)]
            marked = all(map(marked_page, texts, pages))
            passed = bool(pages) and marked
            yield Verdict(
                "pdf",
                reader,
                "watermark and banner on each page",
                study.kind,
                passed,
                problem="unmarked page",
            )


def marked_page(text: str, page: NDArray[np.uint8]) -> bool:
    """Whether a page has the draft's title above and below, what the model says of itself, and the watermark.

    The watermark's letters stand askew, where text extraction loses them: it is looked for by its colour.
    """
    tinted = (page[..., 0].astype(int) - page[..., 2] > 20).mean()
    return text.count("AI DRAFT") >= 2 and "NOT FOR CLINICAL USE" in text and bool(tinted > 0.005)


def _kind_of(lines: Sequence[str]) -> str:
    """What lines of a reader object to, without the values of the object they may quote."""
    return "; ".join(sorted({_VALUES.sub("", line).strip()[:160] for line in lines}))[:400]
