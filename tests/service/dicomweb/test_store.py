"""STOW-RS: what is answered "stored" is on disk and in the account book, and nothing else is."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinical import Permanent, Transient
from dicom_node.spool import SpoolWriter
from service.http.dicomweb.multipart import PartReader
from service.settings import HttpSection, NodeSection
from tests.service.dicomweb.served import BOUNDARY, STOW, Web, body, encoded
from training.phantoms.dicom import VARIANTS, phantom_dataset

_FAILED, _STORED, _NAMELESS = "00081198", "00081199", "0008119A"


def phantom(seed: int) -> tuple[str, bytes]:
    """Study Instance UID and file of a phantom."""
    dataset, _ = phantom_dataset(seed, VARIANTS[seed % len(VARIANTS)], 64)
    return str(dataset.StudyInstanceUID), encoded(dataset)


def reasons(answer: dict[str, object], sequence: str) -> list[int]:
    items = answer.get(sequence, {"Value": []})["Value"]  # type: ignore[index]
    return [item["00081197"]["Value"][0] for item in items]


def test_a_stored_object_is_accounted_for_as_one_that_came_by_c_store(web: Web) -> None:
    study, content = phantom(1)
    answer = web.store([content])
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/dicom+json"
    (item,) = answer.json()[_STORED]["Value"]
    assert f"/studies/{study}/series/" in item["00081190"]["Value"][0]
    account = web.book.account(web.spool, deep=True)
    assert (account.balanced, account.acknowledged, account.states["waiting"]) == (True, 1, 1)
    assert web.book.studies()[0].state == "receiving"


def test_an_object_stored_again_is_one_more_receipt_and_no_more_work(web: Web) -> None:
    _, content = phantom(1)
    assert [web.store([content]).status_code for _ in range(3)] == [200, 200, 200]
    account = web.book.account(web.spool, deep=True)
    assert (account.balanced, account.acknowledged, account.objects) == (True, 3, 1)


def test_each_object_has_its_own_answer_and_failures_leave_nothing(web: Web) -> None:
    study, good = phantom(1)
    _, stranger = phantom(2)
    answer = web.store([good, b"no DICOM", stranger, good[:132]], study=study)
    assert answer.status_code == 202
    told = answer.json()
    assert len(told[_STORED]["Value"]) == 1
    assert reasons(told, _FAILED) == [0xA900]
    assert reasons(told, _NAMELESS) == [0xC000, 0xC000]
    account = web.book.account(web.spool, deep=True)
    assert (account.balanced, account.acknowledged, len(list(web.spool.keys()))) == (True, 1, 1)


def test_where_nothing_could_be_stored_the_answer_is_409(web: Web) -> None:
    assert web.store([b"no DICOM"]).status_code == 409


def test_an_object_over_the_limit_is_refused_and_the_next_one_is_stored(web: Web) -> None:
    small, (_, large) = phantom(1)[1], ("", b"\0" * (3 << 20))
    client = web.client(node=NodeSection(maximum_object_bytes=1 << 20))
    told = web.store([large, small], client=client).json()
    assert reasons(told, _NAMELESS) == [0xC001]
    assert len(told[_STORED]["Value"]) == 1


def test_a_full_disk_answers_503_and_leaves_neither_file_nor_row(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> SpoolWriter:
        raise Transient("spool-full", "no space left on device")

    monkeypatch.setattr(web.spool, "begin", full)
    answer = web.store([phantom(1)[1]])
    assert answer.status_code == 503
    assert reasons(answer.json(), _FAILED) == [0xA700]
    account = web.book.account(web.spool)
    assert (account.acknowledged, account.objects, list(web.spool.keys())) == (0, 0, [])


def test_a_body_that_breaks_off_is_no_success_and_what_came_whole_is_taken_once(web: Web) -> None:
    whole = body([phantom(1)[1], phantom(2)[1]])
    assert web.client().post("/dicom-web/studies", content=whole[:-400], headers=STOW).status_code == 400
    assert web.client().post("/dicom-web/studies", content=whole, headers=STOW).status_code == 200
    account = web.book.account(web.spool, deep=True)
    assert (account.balanced, account.objects) == (True, 2)


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/dicom", 415),
        ('multipart/related; type="application/dicom+json"; boundary=edge', 415),
        ('multipart/related; type="application/dicom"', 400),
        (f'multipart/related; type="application/dicom"; boundary={"x" * 2000}', 400),
    ],
)
def test_other_bodies_are_refused_before_anything_is_taken(web: Web, content_type: str, status: int) -> None:
    answer = web.client().post(
        "/dicom-web/studies", content=body([phantom(1)[1]]), headers={"Content-Type": content_type}
    )
    assert answer.status_code == status
    assert web.book.account(web.spool).objects == 0


def test_a_viewer_may_not_store_and_the_receipt_names_who_did(web: Web) -> None:
    tokens = [
        {"name": f"{role}-token", "sha256": hashlib.sha256(role.encode()).hexdigest(), "role": role}
        for role in ("viewer", "operator")
    ]
    http = HttpSection.model_validate({"host": "0.0.0.0", "behind_proxy": True, "tokens": tokens})
    client = web.client(http)
    statuses = [
        client.post(
            "/dicom-web/studies",
            content=body([phantom(1)[1]]),
            headers={**STOW, "Authorization": f"Bearer {role}"},
        ).status_code
        for role in ("nobody", "viewer", "operator")
    ]
    assert statuses == [401, 403, 200]
    with web.book.engine.connect() as connection:
        receipts = connection.exec_driver_sql("SELECT calling_ae_title, called_ae_title FROM receipts").all()
    assert [tuple(row) for row in receipts] == [("token:operator-token", "dicom-web")]


@given(
    parts=st.lists(st.binary(max_size=200), min_size=1, max_size=4),
    cuts=st.lists(st.integers(min_value=1, max_value=50), min_size=1, max_size=8),
)
def test_a_body_is_split_into_the_same_parts_however_it_arrives(parts: list[bytes], cuts: list[int]) -> None:
    content = body(parts)
    reader = PartReader(BOUNDARY, part_bytes_max=1000)
    found, position, turn = [], 0, 0
    while position < len(content):
        step = cuts[turn % len(cuts)]
        found += reader.feed(content[position : position + step])
        position, turn = position + step, turn + 1
    assert [bytes(part.content) for part in found if part.content is not None] == parts
    assert reader.is_complete


@given(st.binary(max_size=500))
def test_any_body_is_parts_or_a_refusal(content: bytes) -> None:
    reader = PartReader(BOUNDARY, part_bytes_max=100)
    try:
        parts = reader.feed(content)
    except Permanent:
        return
    assert all(part.content is None or len(part.content) <= 100 for part in parts)
