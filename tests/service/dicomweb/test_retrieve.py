"""WADO-RS: what a viewer gets is what the modality sent."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from dicomweb_client.api import DICOMwebClient
from PIL import Image
from pydicom import Dataset, FileDataset
from pydicom.uid import ExplicitVRBigEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from imaging import load_displayed
from service.book.audit import audit_entries
from tests.service.dicomweb.served import Web, encoded, served
from training.phantoms.dicom import VARIANTS, phantom_dataset


def address(dataset: Dataset) -> tuple[str, str, str]:
    return str(dataset.StudyInstanceUID), str(dataset.SeriesInstanceUID), str(dataset.SOPInstanceUID)


def path_of(dataset: Dataset, rest: str = "") -> str:
    study, series, sop = address(dataset)
    return f"/dicom-web/studies/{study}/series/{series}/instances/{sop}{rest}"


@pytest.fixture
def phantom() -> FileDataset:
    return phantom_dataset(7, VARIANTS[0], 96)[0]


def test_a_client_of_another_maker_stores_finds_and_retrieves_the_same_object(
    web: Web, phantom: FileDataset
) -> None:
    with served(web.app()) as url:
        client = DICOMwebClient(url)
        stored = client.store_instances([phantom])
        assert [str(item.ReferencedSOPInstanceUID) for item in stored.ReferencedSOPSequence] == [
            phantom.SOPInstanceUID
        ]
        study, series, sop = address(phantom)
        assert len(client.search_for_studies(search_filters={"PatientID": phantom.PatientID})) == 1
        assert len(client.search_for_series(study)) == len(client.search_for_instances(study, series)) == 1
        for back in (
            client.retrieve_instance(study, series, sop),
            *client.retrieve_series(study, series),
            *client.retrieve_study(study),
        ):
            assert back == phantom
        (frame,) = client.retrieve_instance_frames(study, series, sop, [1])
        assert frame == phantom.PixelData
        told = Dataset.from_json(client.retrieve_instance_metadata(study, series, sop))
        del phantom.PixelData
        assert told == phantom
        picture = Image.open(io.BytesIO(client.retrieve_instance_rendered(study, series, sop)))
        assert picture.size == (96, 96)


@pytest.mark.parametrize(
    ("syntax", "media_type"),
    [(RLELossless, "image/dicom-rle"), (JPEG2000Lossless, "image/jp2"), (JPEGLSLossless, "image/jls")],
)
def test_compressed_frames_are_given_as_they_are_to_those_who_take_them(
    web: Web, phantom: FileDataset, syntax: str, media_type: str
) -> None:
    phantom.compress(syntax, generate_instance_uid=False)
    assert web.store([encoded(phantom)]).status_code == 200
    frames = path_of(phantom, "/frames/1")
    client = web.client()
    for accept in (
        f'multipart/related; type="{media_type}"',
        'multipart/related; type="application/octet-stream"; transfer-syntax=*',
        "*/*",
    ):
        answer = client.get(frames, headers={"Accept": accept})
        assert answer.status_code == 200
        assert f"Content-Type: {media_type}; transfer-syntax={syntax}".encode() in answer.content
    plain = client.get(frames, headers={"Accept": 'multipart/related; type="application/octet-stream"'})
    assert plain.status_code == 406


def test_big_endian_samples_are_given_little_endian(web: Web, phantom: FileDataset) -> None:
    samples = phantom.pixel_array.copy()
    big = Dataset(phantom)
    big.PixelData = samples.astype(">u2").tobytes()
    big["PixelData"].VR = "OW"
    buffer = io.BytesIO()
    phantom.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    big.file_meta = phantom.file_meta
    big.save_as(buffer, implicit_vr=False, little_endian=False, enforce_file_format=True)
    assert web.store([buffer.getvalue()]).status_code == 200
    answer = web.client().get(path_of(phantom, "/frames/1"))
    assert samples.astype("<u2").tobytes() in answer.content


def test_the_picture_is_what_the_model_reads(web: Web, phantom: FileDataset, tmp_path: Path) -> None:
    (tmp_path / "phantom.dcm").write_bytes(encoded(phantom))
    web.store([encoded(phantom)])
    answer = web.client().get(path_of(phantom, "/rendered"), headers={"Accept": "image/png"})
    shown = np.asarray(Image.open(io.BytesIO(answer.content)))
    assert np.array_equal(shown, load_displayed(tmp_path / "phantom.dcm").pixels)
    small = web.client().get(path_of(phantom, "/rendered"), params={"viewport": "32,48"})
    assert (small.headers["content-type"], Image.open(io.BytesIO(small.content)).size) == (
        "image/jpeg",
        (32, 32),
    )


@pytest.mark.parametrize(
    ("rest", "status"),
    [
        ("/frames/0", 404),
        ("/frames/2", 404),
        ("/frames/x", 400),
        ("/bulkdata/00100010", 404),
        ("/rendered?viewport=0,5", 400),
    ],
)
def test_what_an_object_has_not_is_told_without_a_traceback(
    web: Web, phantom: FileDataset, rest: str, status: int
) -> None:
    web.store([encoded(phantom)])
    answer = web.client().get(path_of(phantom, rest))
    assert answer.status_code == status
    assert str(phantom.PatientName) not in answer.text


def test_nothing_is_given_under_the_uids_of_another_study(web: Web, phantom: FileDataset) -> None:
    other, _ = phantom_dataset(8, VARIANTS[0], 64)
    web.store([encoded(phantom), encoded(other)])
    wrong = path_of(phantom).replace(str(phantom.StudyInstanceUID), str(other.StudyInstanceUID))
    for rest in ("", "/metadata", "/frames/1", "/rendered", "/thumbnail"):
        assert web.client().get(wrong + rest).status_code == 404


def test_a_large_value_is_given_by_its_address(web: Web, phantom: FileDataset) -> None:
    phantom.add_new(0x60003000, "OB", bytes(range(256)) * 8192)
    web.store([encoded(phantom)])
    (told,) = web.client().get(path_of(phantom, "/metadata")).json()
    answer = web.client().get(told["60003000"]["BulkDataURI"].replace("http://testserver", ""))
    assert bytes(range(256)) * 8192 in answer.content


def test_headers_of_real_and_hostile_files_are_json(web: Web, real_files: Path) -> None:
    files = sorted(p for folder in ("cxr", "not_cxr", "fuzz") for p in (real_files / folder).rglob("*.dcm"))
    for path in files[::5]:
        web.store([path.read_bytes()])
    studies = web.client().get("/dicom-web/studies", params={"limit": 1000}).json()
    assert len(studies) > 5
    for study in studies:
        uid = study["0020000D"]["Value"][0]
        answer = web.client().get(f"/dicom-web/studies/{uid}/metadata")
        assert answer.status_code == 200
        assert all("0020000D" in told and "7FE00010" not in told for told in json.loads(answer.content))


def test_what_was_searched_and_by_whom_is_in_the_audit_log_without_what_was_searched_for(
    web: Web, phantom: FileDataset
) -> None:
    web.store([encoded(phantom)])
    client = web.client()
    patient = str(phantom.PatientID)
    study = f"/dicom-web/studies/{phantom.StudyInstanceUID}/series"
    for path in (f"/dicom-web/studies?PatientID={patient}", "/dicom-web/studies?PatientID=nobody", study):
        assert client.get(path).status_code == 200
    views = [entry for entry in audit_entries(web.book.engine) if entry.action == "view"]
    assert {(v.actor, v.subject, v.subject_id, v.detail) for v in views} == {
        ("local:127.0.0.1", "study", 1, "search: 1 studies"),
        ("local:127.0.0.1", "", None, "search: 0 studies"),
    }
    assert len(views) == 3


def test_what_was_viewed_and_by_whom_is_in_the_audit_log_without_the_patient(
    web: Web, phantom: FileDataset
) -> None:
    web.store([encoded(phantom)])
    client = web.client()
    client.get("/dicom-web/studies/1.2.3/metadata")
    for rest in ("", "/metadata", "/frames/1", "/rendered"):
        assert client.get(path_of(phantom, rest)).status_code == 200
    views = [entry for entry in audit_entries(web.book.engine) if entry.action == "view"]
    assert [(v.actor, v.subject, v.subject_id, v.detail) for v in views] == [
        ("local:127.0.0.1", "study", 1, "dicom-web")
    ] * 4
