"""The report in older SOP classes, what a new version follows, and what is taken back."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydicom import Dataset
from pydicom.uid import Comprehensive3DSRStorage, ComprehensiveSRStorage, EnhancedSRStorage

from clinical import Permanent
from reporting import (
    ALL_KINDS,
    ALL_SR_CLASSES,
    Artefact,
    RejectionReason,
    ResultReference,
    build_faces,
    build_rejection,
)
from tests.reporting import crafted


def _faces(**more: object) -> dict[str, Artefact]:
    header = crafted.radiograph()
    faces = build_faces(
        crafted.draft([header]),
        crafted.sources(header),
        kinds=ALL_KINDS,
        sr_classes=ALL_SR_CLASSES,
        **more,  # type: ignore[arg-type]
    )
    return {face.kind: face for face in faces}


def _references(faces: dict[str, Artefact]) -> list[ResultReference]:
    return [
        ResultReference(f.kind, crafted.STUDY_UID, f.series_instance_uid, f.sop_class_uid, f.sop_instance_uid)
        for f in faces.values()
    ]


def _tree(content: bytes) -> str:
    return str(crafted.parsed(content).ContentSequence)


def test_rungs_are_objects_of_their_own_with_the_same_content() -> None:
    faces = _faces()
    rungs = [faces["sr"], faces["sr-comprehensive"], faces["sr-enhanced"]]
    classes = [crafted.parsed(rung.content).SOPClassUID for rung in rungs]
    assert classes == [Comprehensive3DSRStorage, ComprehensiveSRStorage, EnhancedSRStorage]
    assert [rung.sop_class_uid for rung in rungs] == classes
    assert len({rung.sop_instance_uid for rung in rungs}) == 3
    assert len({rung.series_instance_uid for rung in rungs}) == 3
    assert len({_tree(rung.content) for rung in rungs}) == 1
    assert [str(crafted.parsed(rung.content).SeriesDescription) for rung in rungs] == [
        "RadDraft AI findings, NOT FOR CLINICAL USE",
        "RadDraft AI findings (Comprehensive), NOT FOR CLINICAL USE",
        "RadDraft AI findings (Enhanced), NOT FOR CLINICAL USE",
    ]


def _predecessor(face: Artefact) -> tuple[str, str, str]:
    (study,) = crafted.parsed(face.content).PredecessorDocumentsSequence
    (series,) = study.ReferencedSeriesSequence
    (instance,) = series.ReferencedSOPSequence
    assert study.StudyInstanceUID == crafted.STUDY_UID
    return series.SeriesInstanceUID, instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID


def test_each_document_names_the_earlier_one_of_its_own_kind() -> None:
    first = _faces()
    second = _faces(earlier=_references(first))
    for kind in ("sr", "sr-comprehensive", "sr-enhanced", "narrative"):
        was = first[kind]
        assert _predecessor(second[kind]) == (
            was.series_instance_uid,
            was.sop_class_uid,
            was.sop_instance_uid,
        )
        assert "PredecessorDocumentsSequence" not in crafted.parsed(was.content)


def _rejection(reason: RejectionReason, **more: object) -> Dataset:
    header = crafted.radiograph()
    arguments: dict[str, object] = {
        "destination": "pacs",
        "words": "wrong patient",
        "at_utc": crafted.MADE + timedelta(days=1),
    }
    return crafted.saved(
        build_rejection(
            crafted.draft([header]),
            _references(_faces()),
            header,
            reason=reason,
            **(arguments | more),  # type: ignore[arg-type]
        )
    )


@pytest.mark.parametrize(
    ("reason", "title"), [(RejectionReason.QUALITY, "113001"), (RejectionReason.PATIENT_SAFETY, "113037")]
)
def test_rejection_names_every_object_under_the_title_iocm_knows(reason: RejectionReason, title: str) -> None:
    document = _rejection(reason)
    assert document.ConceptNameCodeSequence[0].CodeValue == title
    named = {
        item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        for item in document.ContentSequence
        if item.ValueType in ("IMAGE", "COMPOSITE")
    }
    assert named == {face.sop_instance_uid for face in _faces().values()}
    (study,) = document.CurrentRequestedProcedureEvidenceSequence
    listed = {
        i.ReferencedSOPInstanceUID for s in study.ReferencedSeriesSequence for i in s.ReferencedSOPSequence
    }
    assert listed == named
    assert (document.PatientID, document.StudyInstanceUID) == ("P-77", crafted.STUDY_UID)
    assert document.ContentDate == "20240306", "the day it was taken back, not that of the draft"


def test_rejections_of_two_archives_or_reasons_are_two_objects() -> None:
    made = [
        _rejection(RejectionReason.QUALITY),
        _rejection(RejectionReason.PATIENT_SAFETY),
        _rejection(RejectionReason.QUALITY, destination="other"),
    ]
    assert len({document.SOPInstanceUID for document in made}) == 3
    assert _rejection(RejectionReason.QUALITY).SOPInstanceUID == made[0].SOPInstanceUID


def test_nothing_is_rejected_by_an_empty_document() -> None:
    header = crafted.radiograph()
    with pytest.raises(Permanent, match="nothing-to-reject"):
        build_rejection(
            crafted.draft([header]),
            [],
            header,
            destination="pacs",
            reason=RejectionReason.QUALITY,
            words="",
            at_utc=crafted.MADE,
        )
