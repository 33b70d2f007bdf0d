"""The HTTP API: who may see what, and what it says."""

from __future__ import annotations

import hashlib
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from dicom_node import PosixSpool
from service.book import Book, open_book
from service.http import create_app
from service.settings import HttpSection, Settings
from tests.service.arrivals import arrive

_STUDY = "1.2.826.0.1.77777"
_IMAGE = "1.2.826.0.1.88888"
_GUARDED = (
    "/api/v1/studies",
    f"/api/v1/studies/{_STUDY}",
    "/api/v1/account",
    "/metrics",
    "/",
    "/docs",
    "/openapi.json",
)
_LOOPBACK = ("127.0.0.1", 50000)
_ELSEWHERE = ("10.0.0.9", 50000)


@dataclass
class Site:
    """An account book with one received object, and what its API is made of."""

    book: Book
    spool: PosixSpool
    results: PosixSpool
    spool_key: str
    reason: list[str] = field(default_factory=list)

    def app(self, http: HttpSection | None = None) -> FastAPI:
        return create_app(
            Settings(http=http or HttpSection()),
            self.book,
            spool=self.spool,
            results=self.results,
            readiness=lambda: "; ".join(self.reason),
        )

    def client(self, http: HttpSection | None = None, *, caller: tuple[str, int] = _LOOPBACK) -> TestClient:
        return TestClient(self.app(http), client=caller)


@pytest.fixture
def site(tmp_path: Path, empty_book: Path) -> Iterator[Site]:
    book = open_book(f"sqlite:///{shutil.copy(empty_book, tmp_path / 'book.sqlite')}")
    spool = PosixSpool(tmp_path / "spool")
    key = arrive(book.engine, spool, b"content", sop_instance_uid=_IMAGE, study_instance_uid=_STUDY)
    yield Site(book, spool, PosixSpool(tmp_path / "results"), key)
    book.engine.dispose()


def test_every_operation_of_the_api_has_an_id_of_its_own(site: Site) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        paths = site.app().openapi()["paths"]
    ids = [operation["operationId"] for path in paths.values() for operation in path.values()]
    assert len(ids) == len(set(ids))


def guarded() -> HttpSection:
    """An API bound openly, with one token of each role."""
    tokens = [
        {"name": role, "sha256": hashlib.sha256(f"{role}-token".encode()).hexdigest(), "role": role}
        for role in ("viewer", "operator", "admin")
    ]
    return HttpSection.model_validate({"host": "0.0.0.0", "behind_proxy": True, "tokens": tokens})


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("route", _GUARDED)
def test_without_a_valid_token_nothing_is_told(site: Site, route: str) -> None:
    client = site.client(guarded())
    for headers in ({}, bearer("wrong"), bearer(""), {"Authorization": "Basic dmlld2VyLXRva2Vu"}):
        answer = client.get(route, headers=headers)
        assert answer.status_code == 401, headers
        assert _STUDY not in answer.text
    assert client.get(route).headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("role", ["viewer", "operator", "admin"])
def test_every_role_may_look(site: Site, role: str) -> None:
    client = site.client(guarded(), caller=_ELSEWHERE)
    for route in _GUARDED:
        assert client.get(route, headers=bearer(f"{role}-token")).status_code == 200, route


def test_the_digest_of_a_token_is_no_token(site: Site) -> None:
    digest = hashlib.sha256(b"admin-token").hexdigest()
    assert site.client(guarded()).get("/api/v1/account", headers=bearer(digest)).status_code == 401


def test_in_the_default_configuration_only_this_machine_may_look(site: Site) -> None:
    for route in _GUARDED:
        assert site.client().get(route).status_code == 200, route
        assert site.client(caller=_ELSEWHERE).get(route).status_code == 401, route


def test_health_needs_no_token_and_readiness_says_why_not(site: Site) -> None:
    client = site.client(guarded(), caller=_ELSEWHERE)
    assert client.get("/health/live").status_code == client.get("/health/ready").status_code == 200
    site.reason.append("no reader is alive")
    answer = client.get("/health/ready")
    assert (answer.status_code, answer.json()["reason"]) == (503, "no reader is alive")
    assert client.get("/health/live").status_code == 200


def test_metrics_count_states_and_name_nobody(site: Site) -> None:
    text = site.client().get("/metrics").text
    assert 'raddraft_instances{state="waiting"} 1.0' in text
    assert "raddraft_oldest_unfinished_age_seconds" in text
    for uid in (_STUDY, _IMAGE):
        assert uid not in text


def test_studies_are_listed_by_state(site: Site) -> None:
    client = site.client()
    (study,) = client.get("/api/v1/studies").json()
    assert (study["study_instance_uid"], study["state"], study["image_count"]) == (_STUDY, "receiving", 1)
    assert len(client.get("/api/v1/studies", params={"state": "receiving"}).json()) == 1
    assert client.get("/api/v1/studies", params={"state": "done"}).json() == []
    assert client.get("/api/v1/studies", params={"offset": 1}).json() == []
    for wrong in ({"state": "nonsense"}, {"limit": 0}, {"offset": -1}):
        assert client.get("/api/v1/studies", params=wrong).status_code == 422


def test_one_study_is_told_with_its_objects(site: Site) -> None:
    detail = site.client().get(f"/api/v1/studies/{_STUDY}").json()
    assert [i["sop_instance_uid"] for i in detail["instances"]] == [_IMAGE]
    assert (detail["deliveries"], detail["draft"]) == ([], None)


@pytest.mark.parametrize(
    "path", ["1.2.3", "1.2.3/overlay.png", f"{_STUDY}/overlay.png", "..%2f..%2fetc%2fpasswd"]
)
def test_what_the_book_does_not_hold_is_not_found(site: Site, path: str) -> None:
    assert site.client().get(f"/api/v1/studies/{path}").status_code == 404


def test_the_account_balances_until_a_file_is_gone(site: Site) -> None:
    client = site.client()
    account = client.get("/api/v1/account").json()
    assert (account["acknowledged"], account["states"]["waiting"], account["balanced"]) == (1, 1, True)
    site.spool.path(site.spool_key).write_bytes(b"changed")
    assert client.get("/api/v1/account", params={"deep": True}).json()["balanced"] is False
    site.spool.delete(site.spool_key)
    account = client.get("/api/v1/account").json()
    assert account["balanced"] is False
    assert [problem["code"] for problem in account["problems"]] == ["file-missing"]


def test_an_unavailable_book_is_a_503_without_a_library_s_words(site: Site, tmp_path: Path) -> None:
    lost = Book(open_book(f"sqlite:///{tmp_path / 'none' / 'book.sqlite'}").engine)
    app = create_app(Settings(), lost, spool=site.spool, results=site.results, readiness=lambda: "")
    answer = TestClient(app, client=_LOOPBACK, raise_server_exceptions=False).get("/api/v1/account")
    assert answer.status_code == 503
    assert answer.json()["code"] == "book-unavailable"
    assert "sqlite" not in answer.text


def test_the_console_shows_text_of_a_peer_as_text(site: Site) -> None:
    arrive(
        site.book.engine, site.spool, b"x", sop_instance_uid="1.2.7", study_instance_uid="<script>1</script>"
    )
    page = site.client().get("/").text
    assert "<script>1</script>" not in page
    assert "&lt;script&gt;" in page


def test_only_an_operator_takes_a_report_back(site: Site) -> None:
    arrive(site.book.engine, site.spool, b"other", study_instance_uid="1.2.9", ignored="not-an-image")
    client, path = site.client(guarded()), "/api/v1/studies/1.2.9/retract"
    asked = {"reason": "wrong patient"}
    statuses = {
        role: client.post(path, json=asked, headers={"Authorization": f"Bearer {role}-token"}).status_code
        for role in ("viewer", "operator")
    }
    assert statuses == {"viewer": 403, "operator": 200}
    assert site.client().post(path, json=asked).json() == {"destinations": []}
    assert site.client().post(path, json={"reason": ""}).status_code == 422
    assert site.client().post("/api/v1/studies/1.2.3/retract", json=asked).status_code == 404
    at_work = site.client().post(f"/api/v1/studies/{_STUDY}/retract", json=asked)
    assert (at_work.status_code, at_work.json()["code"]) == (503, "study-at-work")


def test_only_an_operator_drops_an_image_of_a_study(site: Site) -> None:
    arrive(site.book.engine, site.spool, b"other", sop_instance_uid="1.2.9.1", study_instance_uid="1.2.9")
    client, path = site.client(guarded()), "/api/v1/studies/1.2.9/drop-image"
    asked = {"image": "1.2.9.1", "reason": "another study's"}
    answers = {
        role: client.post(path, json=asked, headers={"Authorization": f"Bearer {role}-token"})
        for role in ("viewer", "operator")
    }
    assert {role: answer.status_code for role, answer in answers.items()} == {"viewer": 403, "operator": 200}
    assert answers["operator"].json() == {"state": "ignored"}
    (image,) = site.client().get("/api/v1/studies/1.2.9").json()["instances"]
    assert (image["state"], image["reason_code"], image["reason"]) == (
        "ignored",
        "dropped",
        "another study's",
    )
    assert site.client().post(path, json={**asked, "reason": ""}).status_code == 422
    unknown = site.client().post(path, json={**asked, "image": "1.2.9.2"})
    assert (unknown.status_code, unknown.json()["code"]) == (422, "no-such-image")
    assert site.client().post("/api/v1/studies/1.2.3/drop-image", json=asked).status_code == 404
