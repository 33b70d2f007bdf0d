"""QIDO-RS: what is held is found, and nothing is found that was not asked for."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import generate_uid
from sqlalchemy import select

from dicom_node import PosixSpool
from service.book import Book, same_uid, study_images
from service.book.catalogue import Criteria, Level, search
from service.book.database import writing
from service.book.states import InstanceState
from service.book.tables import DraftRow, StudyRow
from tests.bench.search_bench import fill
from tests.service.dicomweb.served import Web, encoded
from tests.service.told_results import artefact_row, draft_row
from training.phantoms.dicom import VARIANTS, phantom_dataset


@pytest.fixture
def web(book: Book, tmp_path: Path) -> Web:
    """The API over an empty account book, on both databases."""
    return Web(book, PosixSpool(tmp_path / "spool"), PosixSpool(tmp_path / "results"))


@pytest.fixture
def held(web: Web) -> list[Any]:
    """Four studies in the book, the last of them with two images."""
    datasets = [phantom_dataset(seed, VARIANTS[seed % 2], 64)[0] for seed in range(4)]
    for number, dataset in enumerate(datasets):
        dataset.PatientName = ("Amélie^Zo_ë", "AMUNDSEN^R", "Berg^100%", "Berg^B")[number]
        dataset.StudyDate = f"2024010{number + 1}"
    second, _ = phantom_dataset(3, VARIANTS[1], 64)
    second.SOPInstanceUID = second.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    second.PatientName, second.StudyDate = "Berg^B", "20240104"
    assert web.store([encoded(dataset) for dataset in [*datasets, second]]).status_code == 200
    return datasets


def found(web: Web, path: str = "/studies", **asked: str) -> list[str]:
    answer = web.client().get(f"/dicom-web{path}", params=asked)
    assert answer.status_code == 200, answer.text
    return [item["0020000D"]["Value"][0] for item in answer.json()]


_SEARCHES: tuple[tuple[dict[str, str], list[int]], ...] = (
    ({}, [3, 2, 1, 0]),
    ({"limit": "2"}, [3, 2]),
    ({"limit": "2", "offset": "3"}, [0]),
    ({"PatientName": "berg*"}, [3, 2]),
    ({"PatientName": "BERG^100%"}, [2]),
    ({"PatientName": "am?lie^zo_ë"}, [0]),
    ({"PatientName": "%"}, []),
    ({"PatientID": "PH00000001"}, [1]),
    ({"00100020": "PH0000000?"}, [3, 2, 1, 0]),
    ({"StudyDate": "20240102"}, [1]),
    ({"StudyDate": "20240102-20240103"}, [2, 1]),
    ({"StudyDate": "-20240101"}, [0]),
    ({"StudyDate": "20240104-"}, [3]),
    ({"ModalitiesInStudy": "CR"}, [3, 1]),
    ({"ModalitiesInStudy": "DX,CR"}, [3, 2, 1, 0]),
    ({"IssuerOfPatientID": "PHANTOM", "AccessionNumber": "A000000002"}, [2]),
    ({"IssuerOfPatientID": "OTHER"}, []),
    ({"includefield": "all", "fuzzymatching": "false"}, [3, 2, 1, 0]),
)


def test_studies_are_found_by_what_identifies_them(web: Web, held: list[Any]) -> None:
    for asked, numbers in _SEARCHES:
        assert found(web, **asked) == [str(held[number].StudyInstanceUID) for number in numbers], asked


def test_pages_join_without_gap_however_many_objects_the_studies_have(book: Book) -> None:
    sizes = [1, 40, 3, 90, 1, 7, 25]
    fill(book.engine, sizes)
    for level, groups in (
        (Level.STUDY, len(sizes)),
        (Level.SERIES, len(sizes)),
        (Level.INSTANCE, sum(sizes)),
    ):
        whole = search(book.engine, level, Criteria(), limit=1000, offset=0)
        assert len(whole) == groups
        assert [group[0].study_id for group in whole] == sorted(
            (group[0].study_id for group in whole), reverse=True
        )
        paged = [
            group
            for offset in range(0, groups, 2)
            for group in search(book.engine, level, Criteria(), limit=2, offset=offset)
        ]
        assert paged == whole
    (few,) = search(book.engine, Level.STUDY, Criteria(patient_name="*-1^*"), limit=9, offset=0)
    assert len(few) == 1


def test_what_cannot_be_matched_is_refused_rather_than_ignored(web: Web) -> None:
    for asked in (
        {"StudyDescription": "x"},
        {"Nonsense": "x"},
        {"00100021.00100020": "x"},
        {"StudyDate": "yesterday"},
        {"limit": "-1"},
    ):
        assert web.client().get("/dicom-web/studies", params=asked).status_code == 400, asked


def test_values_no_database_takes_do_not_hide_the_study(web: Web) -> None:
    dataset, _ = phantom_dataset(6, VARIANTS[0], 64)
    content = encoded(dataset).replace(b"PHANTOM^006", b"PH\0\xed\xa0\x80M^006")
    assert web.store([content]).status_code == 200
    assert found(web, PatientID="PH00000006") == [str(dataset.StudyInstanceUID)]


def test_a_study_tells_how_much_of_it_is_held(web: Web, held: list[Any]) -> None:
    study = str(held[3].StudyInstanceUID)
    (told,) = web.client().get("/dicom-web/studies", params={"StudyInstanceUID": study}).json()
    values = {tag: told[tag]["Value"] for tag in ("00080061", "00201206", "00201208")}
    assert values == {"00080061": ["CR"], "00201206": [1], "00201208": [2]}
    assert found(web, f"/studies/{study}/series") == [study]
    assert found(web, f"/studies/{study}/instances") == [study, study]
    assert len(found(web, "/series")) == 4
    assert len(found(web, "/instances", Modality="DX")) == 2


def test_more_results_than_given_are_announced(web: Web, held: list[Any]) -> None:
    answer = web.client().get("/dicom-web/studies", params={"limit": 3})
    assert answer.headers["warning"].startswith("299 ")
    assert "warning" not in web.client().get("/dicom-web/studies", params={"limit": 4}).headers


def test_an_object_in_doubt_is_not_shown_and_a_corrected_header_replaces_the_old_one(web: Web) -> None:
    dataset, _ = phantom_dataset(5, VARIANTS[0], 64)
    study = str(dataset.StudyInstanceUID)
    web.store([encoded(dataset)])
    dataset.PatientName = "Corrected^Name"
    web.store([encoded(dataset)])
    url = f"/dicom-web/studies/{study}/instances"

    def names() -> list[str]:
        return [i["00100010"]["Value"][0]["Alphabetic"] for i in web.client().get(url).json()]

    assert names() == ["PHANTOM^005"]
    detail = web.book.study(study)
    assert detail is not None
    verdict = study_images.InstanceVerdict(detail.instances[1].instance_row_id, InstanceState.WAITING)
    same_uid.class_instance(web.book.engine, verdict, now=datetime.now(UTC))
    assert names() == ["Corrected^Name"]


def test_a_reader_of_xml_is_told_what_there_is(web: Web) -> None:
    answer = web.client().get("/dicom-web/studies", headers={"Accept": "application/dicom+xml"})
    assert answer.status_code == 406
    assert "application/dicom+json" in answer.text


def test_of_results_the_newest_draft_s_are_shown_once_and_purged_ones_never(web: Web) -> None:
    dataset, _ = phantom_dataset(9, VARIANTS[0], 64)
    web.store([encoded(dataset)])
    now = datetime.now(UTC)

    def add(version: int, kind: str, *, purged: bool = False) -> str:
        """A stored result of a version; its SOP Instance UID."""
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        entry = web.results.put(encoded(dataset))
        with writing(web.book.engine) as session:
            draft = session.scalars(select(DraftRow).where(DraftRow.version == version)).first()
            if draft is None:
                draft = draft_row(session, 1, version)
            session.get_one(StudyRow, 1).draft_version = version
            artefact_row(
                session,
                draft.id,
                kind,
                entry,
                sop_instance_uid=str(dataset.SOPInstanceUID),
                purged_at_utc=now if purged else None,
            )
        return str(dataset.SOPInstanceUID)

    image = str(dataset.SOPInstanceUID)

    def shown() -> list[str]:
        instances = web.client().get("/dicom-web/instances").json()
        return [instance["00080018"]["Value"][0] for instance in instances]

    first = add(1, "sr")
    assert shown() == [image, first]
    second = add(2, "sr")
    add(2, "sr-enhanced")
    add(2, "pr", purged=True)
    assert shown() == [image, second]
