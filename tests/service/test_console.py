"""The console's page of a study: what it shows, to whom, and that nothing in it can become a script."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from dicom_node import PosixSpool
from inference import Model, load_model
from service.book import Book
from service.book.audit import Action, audit_entries
from service.http import create_app
from service.settings import Settings
from tests.service.chat_site import ChatSite


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    model = load_model(threads=1)
    yield model
    model.close()


def _client(site: ChatSite, **sections: object) -> TestClient:
    settings = Settings.model_validate({"broker": {"url": "amqp://127.0.0.1:1//"}, **sections})
    results = PosixSpool(site.folder / "results")
    app = create_app(settings, site.book, spool=site.spool, results=results, readiness=lambda: "")
    return TestClient(app, client=("127.0.0.1", 50000))


def test_a_study_s_page_shows_its_draft_its_checks_and_where_to_ask(
    book: Book, tmp_path: Path, model: Model
) -> None:
    site = ChatSite(book, tmp_path, model)
    client = _client(site)
    assert f'href="/console/studies/{site.study}"' in client.get("/").text
    page = client.get(f"/console/studies/{site.study}")
    assert "Pneumothorax" in page.text and "NOT FOR CLINICAL USE" in page.text
    assert "LOOK FIRST" in page.text and 'id="question"' in page.text and "<rect" in page.text
    assert "Read when no image had come for the quiet period." in page.text
    assert "'unsafe-eval'" not in page.headers["content-security-policy"]
    for script in ("study.js", "images.js"):
        assert client.get(f"/console/{script}").headers["content-type"].startswith("text/javascript")
    assert client.get("/console/studies/1.2.3").status_code == 404
    viewed = [entry.detail for entry in audit_entries(book.engine, action=Action.VIEW)]
    assert viewed == ["page"]
    off = _client(site, chat={"enabled": False}).get(f"/console/studies/{site.study}").text
    assert 'id="question"' not in off
    token = {"name": "v", "sha256": hashlib.sha256(b"viewer-token").hexdigest(), "role": "viewer"}
    guarded = _client(site, http={"tokens": [token]}, chat={"role": "operator"})
    assert guarded.get(f"/console/studies/{site.study}").status_code == 401
    assert guarded.get("/console/study.js").status_code == 401
    seen = guarded.get(f"/console/studies/{site.study}", headers={"Authorization": "Bearer viewer-token"})
    assert seen.status_code == 200 and 'id="question"' not in seen.text
    assert 'id="drop"' in page.text and 'id="drop"' not in seen.text
