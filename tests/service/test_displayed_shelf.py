"""A decoded image is kept for its faces, used once, bounded, never believed when it is not whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import service.study_reading
import service.telling_task
from clinical import Reading
from dicom_node import PosixSpool
from imaging import DecodeLimits, DisplayedImage, load_displayed
from inference import Model, load_model
from service.book import Book, migrate, open_book, queueing
from service.book.artefacts import artefacts_before
from service.book.leases import LeaseKeeper
from service.clock import now_utc
from service.destinations import FaceTerms
from service.displayed_shelf import DisplayedShelf
from service.io_worker import destinations
from service.model_seat import ModelSeat, Seated
from service.profile import site_profile
from service.reading_task import ReadingDesk
from service.settings import Settings
from service.study_reading import ReadingTerms
from service.telling_task import TellingDesk
from tests.service.arrivals import arrive
from training.phantoms.dicom import VARIANTS, phantom_dataset

_TERMS = ReadingTerms(DecodeLimits(timeout_s=60), 60, "0" * 64, "test")


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    model = load_model(threads=1)
    yield model
    model.close()


def _image(rows: int = 40, columns: int = 30, seed: int = 0, **more: Any) -> DisplayedImage:
    return DisplayedImage(
        np.random.default_rng(seed).integers(0, 256, (rows, columns), dtype=np.uint8), **more
    )


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 60),
    st.integers(1, 60),
    st.lists(st.text(max_size=12), max_size=4),
    st.none() | st.tuples(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9)),
)
def test_what_comes_from_the_shelf_is_what_was_put_there(
    tmp_path_factory: pytest.TempPathFactory, rows: int, columns: int, steps: list[str], linear: Any
) -> None:
    shelf = DisplayedShelf(tmp_path_factory.mktemp("shelf") / "displayed", 1 << 20)
    put = _image(rows, columns, steps=tuple(steps), linear_range=linear)
    shelf.put("a", put)
    found = shelf.find("a")
    assert found is not None and np.array_equal(found.pixels, put.pixels)
    assert (found.steps, found.linear_range) == (put.steps, put.linear_range)
    shelf.drop(["a", "never there"])
    assert shelf.find("a") is None


def test_a_damaged_image_is_none(tmp_path: Path) -> None:
    shelf = DisplayedShelf(tmp_path, 1 << 20)
    shelf.put("a", _image())
    (path,) = tmp_path.iterdir()
    assert path.stat().st_mode & 0o077 == 0
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1]), b"", b"{}\n", whole[: len(whole) // 3]):
        path.write_bytes(damaged)
        assert shelf.find("a") is None


def test_the_shelf_holds_no_more_than_it_is_told_and_nothing_old(tmp_path: Path) -> None:
    shelf = DisplayedShelf(tmp_path, 5000)
    for number in range(6):
        shelf.put(str(number), _image(seed=number))
        os.utime(tmp_path / f"{number}.displayed", (now_utc().timestamp() - 100 + number,) * 2)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 5000 + 600
    assert shelf.find("0") is None and shelf.find("5") is not None
    os.utime(tmp_path / "5.displayed", (1, 1))
    shelf.put("6", _image(seed=6))
    assert shelf.find("5") is None
    shelf.put("large", _image(100, 100))
    assert shelf.find("large") is None and shelf.find("6") is not None
    nothing = DisplayedShelf(tmp_path / "none", 0)
    nothing.put("a", _image())
    assert not (tmp_path / "none").exists()


class _House:
    """A book with studies of one phantom each, and desks that read and tell them."""

    def __init__(self, folder: Path, model: Model, seeds: list[int], shelf: DisplayedShelf | None) -> None:
        url = f"sqlite:///{folder / 'book.sqlite'}"
        migrate(url)
        self.book: Book = open_book(url)
        self.spool, self.results = PosixSpool(folder / "spool"), PosixSpool(folder / "results")
        for seed in seeds:
            dataset, _ = phantom_dataset(seed, VARIANTS[0], 256)
            dataset.save_as(folder / "image.dcm", enforce_file_format=True)
            arrive(
                self.book.engine,
                self.spool,
                (folder / "image.dcm").read_bytes(),
                sop_instance_uid=str(dataset.SOPInstanceUID),
                study_instance_uid=str(dataset.StudyInstanceUID),
            )
        self.studies = queueing.close_quiet_studies(self.book.engine, now_utc() + timedelta(hours=1))
        keeper = LeaseKeeper(self.book.engine, lease_s=60)
        common: dict[str, Any] = {
            "engine": self.book.engine,
            "spool": self.spool,
            "keeper": keeper,
            "owner": "test",
            "max_attempts": 3,
            "retry_delay_s": 0,
            "shelf": shelf,
        }
        self.reading = ReadingDesk(
            **common, seat=ModelSeat(Seated(model, _TERMS)), tell=lambda study_id: None
        )
        archive = {"name": "archive", "type": "folder", "path": str(folder / "out")}
        site = Settings.model_validate({"destinations": [archive]})
        self.telling = TellingDesk(
            **common,
            results=self.results,
            destinations=destinations(site),
            terms=FaceTerms(site_profile(site)),
            limits=DecodeLimits(timeout_s=60),
            deliver=lambda delivery_id: None,
        )

    def faces(self, study_id: int) -> set[tuple[str, str]]:
        rows = artefacts_before(self.book.engine, study_id, 2)
        return {(row.kind, row.file_name) for row in rows}


def test_faces_are_built_of_the_image_that_was_read_without_decoding_it_again(
    tmp_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []

    def counted(*arguments: Any, **more: Any) -> DisplayedImage:
        decoded.append("decoded")
        return load_displayed(*arguments, **more)

    monkeypatch.setattr(service.telling_task, "load_displayed", counted)
    found = []
    for name, most_bytes in (("kept", 1 << 24), ("not", 0)):
        folder = tmp_path / name
        folder.mkdir()
        house = _House(folder, model, [9_880_000], DisplayedShelf(folder / "displayed", most_bytes))
        (study_id,) = house.studies
        house.reading.read(study_id)
        house.telling.tell(study_id)
        found.append((len(decoded), house.faces(study_id)))
        assert not list(folder.glob("displayed/*"))
        house.book.engine.dispose()
    assert [count for count, _ in found] == [0, 1]
    assert found[0][1] == found[1][1] and len(found[0][1]) > 4


class _Waits:
    """A model whose first reading goes on only when the next study's image is being decoded."""

    def __init__(self, model: Model, next_decoding: Event) -> None:
        self._model, self._next = model, next_decoding
        self.went_on: list[bool] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def read(self, *arguments: Any, **more: Any) -> Reading:
        if not self.went_on:
            self.went_on.append(self._next.wait(60))
        return self._model.read(*arguments, **more)


def test_the_next_study_s_image_is_decoded_while_the_one_before_is_read(
    tmp_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    decodings: list[Event] = [Event(), Event()]
    begun: list[int] = []

    def noted(*arguments: Any, **more: Any) -> DisplayedImage:
        begun.append(len(begun))
        decodings[begun[-1]].set()
        return load_displayed(*arguments, **more)

    monkeypatch.setattr(service.study_reading, "load_displayed", noted)
    waits: Any = _Waits(model, decodings[1])
    house = _House(tmp_path, waits, [9_880_010, 9_880_011], None)
    first, second = house.studies
    threads = [Thread(target=house.reading.read, args=(study,)) for study in (first, second)]
    threads[0].start()
    assert decodings[0].wait(60)
    threads[1].start()
    for thread in threads:
        thread.join()
    assert waits.went_on == [True] and len(begun) == 2
    assert [study.draft_version for study in house.book.studies()] == [1, 1]
    house.book.engine.dispose()
