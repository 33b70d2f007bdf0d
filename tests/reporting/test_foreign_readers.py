"""Objects as programs of other makers read them: dicom3tools and DCMTK."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset

from clinical import Draft, DraftOutcome
from imaging import load_displayed, read_header
from reporting import SourceImage, build_faces, build_gsps, radiograph_of
from tests.reporting import crafted

pytestmark = pytest.mark.interop

Find = Callable[[str], Path]


def _run(program: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *arguments],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=60,
        check=False,
    )


def _errors(dciodvfy: Path, path: Path) -> set[str]:
    done = _run(dciodvfy, "-new", path)
    return {line for line in (done.stdout + done.stderr).splitlines() if line.startswith(("Error", "Abort"))}


def _written(folder: Path, draft: Draft, known: dict[str, SourceImage]) -> dict[str, Path]:
    return {
        f"{number}-{face.kind}": crafted.written(folder, f"{number}-{face.kind}.dcm", face.content)
        for number, face in enumerate(build_faces(draft, known))
    }


def _draft(kind: str, headers: list[Dataset]) -> Draft:
    if kind in ("findings", "no-findings"):
        return crafted.draft(headers, findings=kind == "findings")
    return crafted.unread_draft(headers, DraftOutcome(kind))


@pytest.mark.parametrize("kind", [outcome.value for outcome in DraftOutcome])
def test_validators_find_nothing_wrong_with_any_outcome(program: Find, tmp_path: Path, kind: str) -> None:
    dciodvfy, dcmpschk, dsrdump = program("dciodvfy"), program("dcmpschk"), program("dsrdump")
    headers = [
        crafted.radiograph(number=1, photometric="MONOCHROME1"),
        crafted.radiograph(number=2, dx=False, voi="lut", charset="ISO_IR 192", PatientName="Müller^Jörg"),
    ]
    written = _written(tmp_path, _draft(kind, headers), crafted.sources(*headers))
    for name, path in written.items():
        assert _errors(dciodvfy, path) == set(), name
        if name.endswith("sr"):
            dumped = _run(dsrdump, path)
            assert dumped.returncode == 0
            assert "Comprehensive 3D SR Document" in dumped.stdout
            assert "PRELIMINARY" in dumped.stdout and "UNVERIFIED" in dumped.stdout
        if name.endswith("pr"):
            checked = _run(dcmpschk, path)
            assert "Test passed" in checked.stdout + checked.stderr


def test_objects_agree_with_each_other_and_their_source(program: Find, tmp_path: Path) -> None:
    dcentvfy = program("dcentvfy")
    header = crafted.radiograph()
    source = tmp_path / "source.dcm"
    header.save_as(source, enforce_file_format=True)
    written = _written(tmp_path, crafted.draft([header]), crafted.sources(header))
    done = _run(dcentvfy, source, *written.values())
    assert not [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]


def _rendered(program: Find, folder: Path, header: Dataset, state: Dataset) -> NDArray[np.float64]:
    image, presentation, grey = folder / "image.dcm", folder / "state.dcm", folder / "grey.pgm"
    header.save_as(image, enforce_file_format=True)
    state.save_as(presentation, enforce_file_format=True)
    _run(program("dcmp2pgm"), "-p", presentation, image, grey)
    return np.asarray(Image.open(grey).convert("L"), dtype=np.float64)


def _agreement(rendered: NDArray[np.float64], displayed: NDArray[np.uint8]) -> float:
    """Correlation below the notice at the upper edge."""
    assert rendered.shape == displayed.shape
    start = displayed.shape[0] // 8
    return float(np.corrcoef(rendered[start:].ravel(), displayed[start:].astype(float).ravel())[0, 1])


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("voi", ["window", "lut", "signed-lut", "none"])
def test_presentation_state_shows_the_radiograph_as_we_displayed_it(
    program: Find, tmp_path: Path, photometric: str, voi: str
) -> None:
    header = crafted.radiograph(photometric=photometric, voi=voi)
    source = crafted.source_image(header)
    assert source.radiograph is not None
    draft = crafted.draft([header], findings=False)
    rendered = _rendered(program, tmp_path, header, build_gsps(draft, draft.readings[0], source))
    assert _agreement(rendered, source.radiograph.grey) > 0.995
    start = crafted.ROWS // 8
    assert np.abs(rendered[start:] - source.radiograph.grey[start:]).mean() < 3


def test_real_images_bring_every_error_there_is(program: Find, tmp_path: Path, real_files: Path) -> None:
    dciodvfy, dcmp2pgm = program("dciodvfy"), program("dcmp2pgm")
    for path in sorted((real_files / "cxr").rglob("*.dcm")):
        header = read_header(path)
        displayed = load_displayed(path)
        draft = crafted.draft([header])
        brought = _errors(dciodvfy, path)
        written = _written(
            tmp_path, draft, {str(header.SOPInstanceUID): SourceImage(header, radiograph_of(displayed))}
        )
        for name, face in written.items():
            assert _errors(dciodvfy, face) <= brought, (path.name, name)
        if header.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1":
            grey = tmp_path / "grey.pgm"
            _run(dcmp2pgm, "-p", written["1-pr"], path, grey)
            rendered = np.asarray(Image.open(grey).convert("L"), dtype=np.float64)
            assert _agreement(rendered, displayed.pixels) > 0.95, path.name
