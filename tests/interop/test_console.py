"""The console in a browser: questions by keyboard and boxes where the stored image has them; a stray image dropped."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI

from dicom_node import PosixSpool
from inference import Model, load_model
from service.book import Book, conversations, open_book
from service.http import create_app
from service.settings import Settings
from tests.interop.node_packages import require
from tests.service.arrivals import arrive
from tests.service.chat_site import ChatSite

_FOLDER = Path(__file__).parent / "ohif"
_WHERE = "Where is the left lung located in this Chest X-ray?"


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    model = load_model(threads=1)
    yield model
    model.close()


@pytest.fixture
def book(tmp_path: Path, empty_book: Path) -> Iterator[Book]:
    book = open_book(f"sqlite:///{shutil.copy(empty_book, tmp_path / 'book.sqlite')}")
    yield book
    book.engine.dispose()


@contextmanager
def _served(app: FastAPI) -> Iterator[int]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


@pytest.mark.interop
def test_a_question_by_keyboard_is_answered_and_its_box_lies_where_the_image_has_it(
    book: Book, model: Model, tmp_path: Path, program: Callable[[str], Path]
) -> None:
    node, chromium = program("node"), program("chromium")
    require(program("npm"), _FOLDER)
    site = ChatSite(book, tmp_path, model)
    withheld = site.answered("Where is the pleural effusion located in this Chest X-ray?")
    assert withheld["withheld_sentences"] == 1
    shot = tmp_path / "console.png"
    with site.app() as app, _served(app) as port:
        url = f"http://127.0.0.1:{port}/console/studies/{site.study}"
        command = [str(node), str(_FOLDER / "console.mjs"), str(chromium), url, _WHERE, str(shot)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    turn = conversations.turns_of_study(book.engine, book.study_row_id(site.study))[-1]
    (box,) = json.loads(turn.checked_json)["boxes_px"]
    sides = {
        "x": box["x0"],
        "y": box["y0"],
        "width": box["x1"] - box["x0"],
        "height": box["y1"] - box["y0"],
    }
    assert seen["drawn"] == [sides] and seen["hidden"] == [] and seen["again"] == [sides]
    # On the screen the box begins where the image's own pixels say.
    assert seen["seen"]["loaded"] == 320
    assert seen["seen"]["inside"] == pytest.approx([box["x0"] / 320, box["y0"] / 320], abs=0.01)
    assert seen["earlier"] == 1 and "[withheld by a safety check]" in seen["log"]
    assert "fail: a box of what was not called present" in seen["log"] and _WHERE in seen["log"]
    assert "19 of 20" in seen["state"] and seen["errors"] == []
    assert shot.stat().st_size > 10_000


@pytest.mark.interop
def test_an_image_is_dropped_on_its_study_s_page_with_a_reason(
    book: Book, tmp_path: Path, program: Callable[[str], Path]
) -> None:
    node, chromium = program("node"), program("chromium")
    require(program("npm"), _FOLDER)
    spool, results, shot = (
        PosixSpool(tmp_path / "spool"),
        PosixSpool(tmp_path / "results"),
        tmp_path / "drop.png",
    )
    for image in ("1.2.1", "1.2.2"):
        arrive(book.engine, spool, image.encode(), sop_instance_uid=image)
    app = create_app(Settings(data_dir=tmp_path), book, spool=spool, results=results, readiness=lambda: "")
    with _served(app) as port:
        url, reason = f"http://127.0.0.1:{port}/console/studies/1.9", "another study's"
        command = [str(node), str(_FOLDER / "drop.mjs"), str(chromium), url, "1.2.2", reason, str(shot)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    kept = ["1.2.1", "waiting", ""]
    assert seen["before"] == seen["unchanged"] == [kept, ["1.2.2", "waiting", ""]] and seen["asked"]
    assert seen["after"] == [kept, ["1.2.2", "ignored", reason]]
    assert seen["offered"] == ["1.2.1"] and seen["errors"] == []
    assert shot.stat().st_size > 10_000
