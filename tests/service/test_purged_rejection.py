"""Results whose bytes retention has taken are withdrawn all the same, as long as a newer version speaks for them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from pydicom import Dataset
from sqlalchemy import select, update

from clinical import Permanent, draft_to_json
from reporting import Artefact, RejectionReason, SiteProfile, build_faces
from service.book.database import reading, writing
from service.book.held_results import HeldResults, rejectable
from service.book.purge import RetentionRule
from service.book.states import DeliveryState, StudyState
from service.book.tables import ArtefactRow, DeliveryRow, StudyRow
from service.clock import now_utc
from service.faces import REJECTION
from service.house import House, open_house
from service.rejecting import rejections, stored_references
from service.retention import PurgeReport, Retention
from service.retracting import retract_study
from service.settings import load_settings
from tests.reporting import crafted
from tests.service.told_results import artefact_row, delivery_row, draft_row, study_row


@pytest.fixture
def house(tmp_path: Path, book_url: str) -> Iterator[House]:
    config = tmp_path / "site.toml"
    config.write_text(
        f'data_dir = "{tmp_path / "data"}"\n[database]\nurl = "{book_url}"\n'
        '[[destinations]]\nname = "pacs"\ntype = "dicom"\nae_title = "PACS"\n'
        'host = "127.0.0.1"\nport = 1\nobjects = ["sr", "sc", "ko"]\n',
        encoding="utf-8",
    )
    house = open_house(load_settings(config))
    yield house
    house.book.engine.dispose()


def tell(house: House, version: int, *, named: bool = True, patient_id: str = "") -> tuple[Artefact, ...]:
    """A version whose report and picture the archive has; `named` as this edition stores it, else as earlier ones."""
    header = crafted.radiograph()
    header.PatientID = patient_id or header.PatientID
    header.PatientName = f"Version^{version}"
    draft = replace(crafted.draft([header]), version=version)
    faces = build_faces(draft, crafted.sources(header), kinds=frozenset({"sr", "sc"}))
    with writing(house.book.engine) as session:
        study = session.scalars(select(StudyRow)).first() or study_row(session, crafted.STUDY_UID)
        study.state, study.draft_version = StudyState.DONE, version
        made = draft_row(session, study.id, version, draft_json=draft_to_json(draft))
        for face in faces:
            names = {"series_instance_uid": face.series_instance_uid, "sop_class_uid": face.sop_class_uid}
            names["patient_digest"] = face.patient_digest
            artefact = artefact_row(
                session,
                made.id,
                face.kind,
                house.results.put(face.content),
                sop_instance_uid=face.sop_instance_uid,
                **(names if named else {}),
            )
            delivery_row(session, artefact, "pacs", DeliveryState.DELIVERED, attempts=1, due_at_utc=None)
    return faces


def purge(house: House) -> PurgeReport:
    rule = RetentionRule(results_days=1)
    retention = Retention(house.book.engine, house.spool, house.results, rule, "user:tester")
    return retention.purge(now_utc() + timedelta(days=2))


def to_reject(house: House, before_version: int | None = None) -> list[HeldResults]:
    return rejectable(house.book.engine, 1, ["pacs"], REJECTION, before_version=before_version).held


def document_of(house: House, row: ArtefactRow) -> Dataset:
    with house.results.open(row.spool_key) as file:
        return crafted.parsed(file.read())


def references(document: Dataset) -> set[tuple[str, str, str]]:
    (study,) = document.CurrentRequestedProcedureEvidenceSequence
    assert study.StudyInstanceUID == crafted.STUDY_UID
    return {
        (series.SeriesInstanceUID, one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID)
        for series in study.ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    }


def names_of(faces: tuple[Artefact, ...]) -> set[tuple[str, str, str]]:
    return {(face.series_instance_uid, face.sop_class_uid, face.sop_instance_uid) for face in faces}


@pytest.mark.parametrize("named", [True, False], ids=["this edition's", "an earlier edition's"])
def test_a_purged_version_is_rejected_when_its_successor_is_told(
    house: House, named: bool, program: Callable[[str], Path], tmp_path: Path
) -> None:
    first = tell(house, 1, named=named)
    assert purge(house).result_files == len(first)
    assert list(house.results.keys()) == []
    tell(house, 2)
    (row,) = rejections(
        to_reject(house, before_version=2),
        house.results,
        house.results.put,
        SiteProfile(),
        reason=RejectionReason.QUALITY,
        words="Replaced by version 2 of the draft",
        at_utc=crafted.MADE,
    )
    document = document_of(house, row)
    assert references(document) == names_of(first)
    assert str(document.PatientName) == "Version^2"
    assert document.ConceptNameCodeSequence[0].CodeValue == "113001"
    path = crafted.written(tmp_path, "rejection.dcm", (house.results.path(row.spool_key)).read_bytes())
    read = subprocess.run([program("dciodvfy"), "-new", path], capture_output=True, text=True, check=False)
    assert "Error" not in read.stdout + read.stderr


def test_a_retraction_takes_back_the_purged_version_and_the_standing_one_once(house: House) -> None:
    first = tell(house, 1)
    purge(house)
    second = tell(house, 2)
    assert retract_study(house, crafted.STUDY_UID, "wrong side", actor="user:tester") == ["pacs"]
    assert retract_study(house, crafted.STUDY_UID, "wrong side", actor="user:tester") == []
    with reading(house.book.engine) as session:
        rows = session.scalars(select(ArtefactRow).where(ArtefactRow.kind == REJECTION)).all()
        sent = session.scalars(select(DeliveryRow).where(DeliveryRow.kind == REJECTION)).all()
        session.expunge_all()
    assert {row.draft_id for row in sent} == {1, 2}
    documents = [document_of(house, row) for row in sorted(rows, key=lambda row: row.draft_id)]
    assert [references(document) for document in documents] == [names_of(first), names_of(second)]
    assert documents[0].SOPInstanceUID != documents[1].SOPInstanceUID


def test_the_rejection_of_a_purged_version_goes_with_the_version_that_spoke_for_it(house: House) -> None:
    tell(house, 1)
    purge(house)
    tell(house, 2)
    retract_study(house, crafted.STUDY_UID, "wrong side", actor="user:tester")
    with writing(house.book.engine) as session:
        session.execute(update(DeliveryRow).values(state=DeliveryState.DELIVERED))
        session.execute(update(StudyRow).values(state=StudyState.DONE))
    assert purge(house).result_files == 4
    assert list(house.results.keys()) == []
    assert house.book.account(house.spool).balanced


def test_without_a_newer_version_a_person_must_take_it_back(house: House) -> None:
    tell(house, 1)
    purge(house)
    assert to_reject(house) == []
    with pytest.raises(Permanent, match=r"results-purged.*at pacs"):
        retract_study(house, crafted.STUDY_UID, "wrong side", actor="user:tester")


def test_a_purged_version_of_another_patient_a_person_must_take_back(house: House) -> None:
    tell(house, 1)
    purge(house)
    tell(house, 2, patient_id="CORRECTED-7")
    assert to_reject(house, before_version=2) == []
    with pytest.raises(Permanent, match=r"results-purged.*at pacs"):
        retract_study(house, crafted.STUDY_UID, "wrong side", actor="user:tester")


def test_what_an_earlier_edition_purged_unnamed_a_person_must_take_back(house: House) -> None:
    tell(house, 1, named=False)
    purge(house)
    with writing(house.book.engine) as session:
        session.execute(
            update(ArtefactRow).values(series_instance_uid="", sop_class_uid="", patient_digest="")
        )
    tell(house, 2)
    with pytest.raises(Permanent, match=r"results-purged.*at pacs"):
        retract_study(house, crafted.STUDY_UID, "wrong side", actor="user:tester")
    with reading(house.book.engine) as session:
        (taken,) = session.scalars(select(DeliveryRow).where(DeliveryRow.kind == REJECTION))
        assert taken.draft_id == 2


def test_a_successor_names_purged_reports_as_its_predecessors(house: House) -> None:
    first = tell(house, 1)
    purge(house)
    with reading(house.book.engine) as session:
        rows = session.scalars(select(ArtefactRow)).all()
        found = stored_references(house.results, rows, crafted.STUDY_UID)
    assert {(one.series_instance_uid, one.sop_class_uid, one.sop_instance_uid) for one in found} == names_of(
        first
    )
