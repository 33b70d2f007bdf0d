"""A study with findings and one not assessed, in an archive, a viewer and a validator of other makers.

`make conformance` shows them every kind of result, and real radiographs.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from inference import load_model
from tests.conformance.archive import archived
from tests.conformance.programs import pixelmed
from tests.conformance.studies import phantom_studies
from tests.conformance.table import Verdict, as_markdown
from tests.interop.ohif.viewer import NotInstallable, install

_KINDS = {"several findings", "not assessed"}
pytestmark = [pytest.mark.interop, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def verdicts(program: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> list[Verdict]:
    for name in ("DicomSRValidator", "Orthanc", "chromium", "node"):
        program(name)
    try:
        install(program("npm"))
    except NotInstallable as error:
        if os.environ.get("CI"):
            pytest.fail(f"the viewer cannot be installed: {error}", pytrace=False)
        pytest.skip(f"the viewer cannot be installed: {error}")
    model = load_model()
    try:
        made = phantom_studies(model, tmp_path_factory.mktemp("studies"))
        studies = [study for study in made if study.kind in _KINDS]
    finally:
        model.close()
    return [verdict for reader in (archived, pixelmed) for verdict in reader(program, studies)]


def test_no_reader_objects_to_any_object(verdicts: list[Verdict]) -> None:
    assert [v for v in verdicts if not v.passed] == []
    assert {v.study for v in verdicts} == _KINDS


def test_boxes_are_drawn_by_the_viewer_where_the_report_has_them(verdicts: list[Verdict]) -> None:
    assert [v.study for v in verdicts if v.checks == "boxes drawn there" and v.passed] == ["several findings"]


def test_the_evidence_names_no_path_and_no_patient(verdicts: list[Verdict]) -> None:
    text = as_markdown(verdicts, sorted(_KINDS))
    assert "PHANTOM^" not in text and "/tmp" not in text and "2.25." not in text
