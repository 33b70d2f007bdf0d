"""A study with findings and one not assessed, in an archive, a viewer and a validator of other makers.

`make conformance` shows them every kind of result, and real radiographs.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import gettempdir

import pytest

from inference import load_model
from tests.conformance.archive import archived
from tests.conformance.programs import pixelmed, validated
from tests.conformance.studies import phantom_studies
from tests.conformance.table import Verdict, as_markdown
from tests.interop.ohif.viewer import NotInstallable, install

_KINDS = {"several findings", "not assessed"}
_UNREADABLE = "unreadable"
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
    broken = tmp_path_factory.mktemp("unreadable") / "sr.dcm"
    broken.write_bytes(studies[0].of("sr")[0].read_bytes()[:600])
    unreadable = replace(studies[0], kind=_UNREADABLE, objects=(("sr", broken),))
    return [*archived(program, studies), *pixelmed(program, [unreadable, *studies])]


def test_no_reader_objects_to_any_object(verdicts: list[Verdict]) -> None:
    assert [v for v in verdicts if not v.passed and v.study != _UNREADABLE] == []
    assert {v.study for v in verdicts} == {*_KINDS, _UNREADABLE}


def test_a_report_that_the_validator_cannot_read_is_objected_to_and_the_next_are_judged(
    verdicts: list[Verdict],
) -> None:
    assert [(v.passed, bool(v.problem)) for v in verdicts if v.study == _UNREADABLE] == [(False, True)]


def test_a_validator_that_dies_costs_the_verdict_of_its_file_alone(tmp_path: Path) -> None:
    dying = tmp_path / "child.py"
    dying.write_text(
        "import json, os, sys\n"
        "for file in sys.argv[2:]:\n"
        "    if file == 'deadly':\n"
        "        sys.stdout.write('\"half a li'); sys.stdout.flush(); os.abort()\n"
        "    print(json.dumps(f'read {file}'), flush=True)\n"
    )
    said = validated([Path("a"), Path("deadly"), Path("b"), Path("deadly")], dying)
    assert [said[0], said[2]] == ["read a", "read b"]
    assert said[1] == said[3] and said[1].startswith("Error")


def test_boxes_are_drawn_by_the_viewer_where_the_report_has_them(verdicts: list[Verdict]) -> None:
    assert [v.study for v in verdicts if v.checks == "boxes drawn there" and v.passed] == ["several findings"]


def test_the_evidence_names_no_path_and_no_patient(verdicts: list[Verdict]) -> None:
    text = as_markdown(verdicts, sorted(_KINDS))
    assert "PHANTOM^" not in text and "/tmp" not in text and gettempdir() not in text and "2.25." not in text
