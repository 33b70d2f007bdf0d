"""A critical finding's key objects: of the right images and the report, one a version, and only where asked for."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from pydicom import Dataset

from clinical import CriticalFinding, Draft
from reporting import Artefact, RejectionReason, ResultReference, build_faces, build_rejection
from tests.reporting import crafted

_RAISED = (CriticalFinding("Pneumothorax", ("report",), 0.9, "1"),)
_KINDS = frozenset({"sr", "critical"})


def _headers() -> list[Dataset]:
    return [
        crafted.radiograph(number=1, PatientName="Müller^Jörg", charset="ISO_IR 100"),
        crafted.radiograph(number=2),
    ]


def _draft(headers: list[Dataset], *, raised_on: int | None, version: int = 1) -> Draft:
    """Two Readings; one of them raised a critical finding, or one that is withheld did."""
    draft = replace(crafted.draft(headers), version=version, critical=_RAISED)
    readings = [
        replace(reading, critical=_RAISED if number == raised_on else ())
        for number, reading in enumerate(draft.readings)
    ]
    return replace(draft, readings=tuple(readings))


def _faces(draft: Draft, headers: list[Dataset], kinds: frozenset[str] = _KINDS) -> dict[str, Artefact]:
    return {face.kind: face for face in build_faces(draft, crafted.sources(*headers), kinds=kinds)}


def _named(document: Dataset, value_type: str) -> list[str]:
    return [
        item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        for item in document.ContentSequence
        if item.ValueType == value_type
    ]


@pytest.mark.parametrize("raised_on", [0, 1, None])
def test_it_points_at_what_raised_it_and_at_the_report(raised_on: int | None) -> None:
    headers = _headers()
    faces = _faces(_draft(headers, raised_on=raised_on), headers)
    document = crafted.parsed(faces["critical"].content)
    wanted = headers if raised_on is None else [headers[raised_on]]
    assert _named(document, "IMAGE") == [header.SOPInstanceUID for header in wanted]
    assert _named(document, "COMPOSITE") == [faces["sr"].sop_instance_uid]
    assert document.ConceptNameCodeSequence[0].CodeValue == "113000"
    (words,) = [
        item.TextValue
        for item in document.ContentSequence
        if item.ValueType == "TEXT"
        and item.ConceptNameCodeSequence[0].CodeMeaning == "Key Object Description"
    ]
    assert words.startswith("DRAFT, AI: critical finding suspected") and "Pneumothorax" in words
    assert document.SeriesDescription.startswith("RadDraft AI look first, ")
    assert document.PatientName == headers[0].PatientName
    listed = {
        one.ReferencedSOPInstanceUID
        for study in document.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    }
    assert listed == {*_named(document, "IMAGE"), *_named(document, "COMPOSITE")}


def test_nobody_gets_it_who_did_not_ask_and_nothing_is_flagged_without_a_critical_finding() -> None:
    headers = _headers()
    raised = _draft(headers, raised_on=0)
    assert "critical" not in _faces(raised, headers, frozenset({"sr", "pr", "sc"}))
    assert "critical" not in _faces(replace(raised, critical=()), headers)


def test_one_object_for_each_version() -> None:
    headers = _headers()
    first = _faces(_draft(headers, raised_on=0), headers)["critical"]
    assert _faces(_draft(headers, raised_on=0), headers)["critical"] == first
    second = _faces(_draft(headers, raised_on=0, version=2), headers)["critical"]
    assert (first.sop_instance_uid, first.series_instance_uid) != (
        second.sop_instance_uid,
        second.series_instance_uid,
    )


@pytest.mark.interop
def test_readers_take_it_and_the_rejection_that_withdraws_it(
    program: Callable[[str], Path], tmp_path: Path
) -> None:
    headers = _headers()
    draft = _draft(headers, raised_on=None)
    faces = _faces(draft, headers)
    withdrawn = [
        ResultReference(
            face.kind, crafted.STUDY_UID, face.series_instance_uid, face.sop_class_uid, face.sop_instance_uid
        )
        for face in faces.values()
    ]
    rejection = build_rejection(
        draft,
        withdrawn,
        headers[0],
        destination="pacs",
        reason=RejectionReason.QUALITY,
        words="replaced",
        at_utc=crafted.MADE + timedelta(days=1),
    )
    flag = crafted.written(tmp_path, "critical.dcm", faces["critical"].content)
    taken = tmp_path / "rejection.dcm"
    rejection.save_as(taken, enforce_file_format=True)
    assert faces["critical"].sop_instance_uid in _named(rejection, "COMPOSITE")
    for path in (flag, taken):
        said = subprocess.run(
            [program("dciodvfy"), "-new", path],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        assert not [line for line in (said.stdout + said.stderr).splitlines() if line.startswith("Error")]
    dumped = subprocess.run(
        [program("dsrdump"), flag], capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    assert dumped.returncode == 0 and "Of Interest" in dumped.stdout
