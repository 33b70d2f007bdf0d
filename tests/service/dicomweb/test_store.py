"""STOW-RS: what is answered "stored" is on disk and in the account book, and nothing else is."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import tracemalloc
from collections.abc import AsyncIterator, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset

from clinical import Permanent, Transient
from dicom_node import Caller, Reception
from dicom_node.spool import SpoolWriter
from service.book.receipts import OVER_HTTP, QuietRule
from service.http.dicomweb.multipart import PartReader
from service.http.dicomweb.store import Storing
from service.intake import BookLedger
from service.settings import HttpSection, NodeSection
from tests.service.dicomweb.served import BOUNDARY, STOW, Web, body, encoded
from training.phantoms.dicom import VARIANTS, phantom_dataset

_FAILED, _STORED, _NAMELESS = "00081198", "00081199", "0008119A"


def phantom(seed: int) -> tuple[str, bytes]:
    """Study Instance UID and file of a phantom."""
    dataset, _ = phantom_dataset(seed, VARIANTS[seed % len(VARIANTS)], 64)
    return str(dataset.StudyInstanceUID), encoded(dataset)


def long_dataset(pixel_bytes: int) -> Dataset:
    """A phantom's header with many more pixels than it says."""
    dataset, _ = phantom_dataset(3, VARIANTS[0], 64)
    dataset.PixelData = secrets.token_bytes(pixel_bytes)
    return dataset


async def in_pieces(content: bytes, look: Callable[[], None]) -> AsyncIterator[bytes]:
    """A body as a network brings it; `look` is called when all but its end is there."""
    step = 1 << 16
    for start in range(0, len(content), step):
        if start + step >= len(content):
            look()
        yield content[start : start + step]


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
    small, large = phantom(1)[1], encoded(long_dataset(3 << 20))
    client = web.client(node=NodeSection(maximum_object_bytes=1 << 20))
    told = web.store([large, small], client=client).json()
    assert reasons(told, _FAILED) == [0xC001]
    assert len(told[_STORED]["Value"]) == 1
    assert len(list(web.spool.keys())) == 1


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


def storing(web: Web) -> Storing:
    reception = Reception(
        web.spool,
        BookLedger(web.book.engine, QuietRule(30.0, 900.0)),
        own_manufacturer="RadDraft",
        object_bytes_max=64 << 20,
    )
    return Storing(reception, Caller("token:x", "127.0.0.1", OVER_HTTP), study_uid="")


def test_an_object_is_on_the_disk_while_it_arrives_and_not_in_memory(web: Web) -> None:
    content = encoded(long_dataset(24 << 20))
    seen: list[int] = []
    tracemalloc.start()
    try:
        whole = body([content])
        before = tracemalloc.get_traced_memory()[0]

        def look() -> None:
            seen.extend(path.stat().st_size for path in web.spool.path("00/x").parents[1].glob("*/.part-*"))
            seen.append(tracemalloc.get_traced_memory()[1] - before)
            tracemalloc.reset_peak()

        tracemalloc.reset_peak()
        outcome = asyncio.run(storing(web).take(in_pieces(whole, look), BOUNDARY))
    finally:
        tracemalloc.stop()
    on_disk, in_memory = seen
    assert on_disk > 23 << 20
    # The head of the object (1 MiB), and the copies that are made of it when it begins.
    assert in_memory < 6 << 20
    assert outcome.http_status == 200
    (path,) = map(web.spool.path, web.spool.keys())
    assert path.read_bytes().endswith(content[-(23 << 20) :])


def test_a_body_that_breaks_off_in_an_object_leaves_nothing_of_it(web: Web) -> None:
    whole = body([encoded(long_dataset(3 << 20))])
    with pytest.raises(Permanent, match="ended before"):
        asyncio.run(storing(web).take(in_pieces(whole[: 2 << 20], lambda: None), BOUNDARY))
    assert not [path for path in web.spool.path("00/x").parents[1].rglob("*") if path.is_file()]
    assert web.book.account(web.spool).objects == 0


def test_a_file_whose_meta_information_names_another_object_is_stored_as_what_it_is(web: Web) -> None:
    dataset, _ = phantom_dataset(1, VARIANTS[1], 64)
    content = encoded(dataset)
    uid = str(dataset.SOPInstanceUID).encode()
    # The first is the one of the file meta information.
    renamed = content.replace(uid, uid[:-1] + (b"1" if uid[-1:] != b"1" else b"2"), 1)
    assert web.store([content]).status_code == web.store([renamed]).status_code == 200
    account = web.book.account(web.spool, deep=True)
    assert (account.balanced, account.acknowledged, account.objects) == (True, 2, 1)


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
    reader = PartReader(BOUNDARY)
    found, position, turn = [b""], 0, 0
    while position < len(content):
        step = cuts[turn % len(cuts)]
        for piece in reader.feed(content[position : position + step]):
            found[-1] += piece.content
            found += [b""] * piece.is_last
        position, turn = position + step, turn + 1
    assert found == [*parts, b""]
    assert reader.is_complete


@given(st.binary(max_size=500))
def test_any_body_is_parts_or_a_refusal(content: bytes) -> None:
    reader = PartReader(BOUNDARY)
    try:
        pieces = reader.feed(content)
    except Permanent:
        return
    assert sum(len(piece.content) for piece in pieces) <= len(content)
