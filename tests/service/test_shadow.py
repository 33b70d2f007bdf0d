"""A shadow model reads what was told, differs without anybody hearing of it, and can be compared."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from threading import Event, Timer
from typing import Any, cast

import numpy as np
import pytest
from typer.testing import CliRunner

from clinical import Presence, Reading
from dicom_node import PosixSpool
from imaging import DecodeLimits, DisplayedImage, Flavour, load_displayed
from inference import Model, load_model
from service.book import Book, study_images
from service.book.shadow import shadow_begins, shadow_name, shadow_pairs
from service.cli.models import app
from service.clock import now_utc
from service.model_comparing import compare
from service.shadow_reading import ShadowDesk
from service.study_reading import ReadingTerms
from tests.inference.packages import other_package
from tests.promises.installation import Installation, installation
from tests.service.read_studies import read_phantoms
from training.phantoms.dicom import VARIANTS, write_phantom

_TERMS = ReadingTerms(DecodeLimits(timeout_s=60), 60, "0" * 64, "test")


def _without_cardiomegaly(manifest: dict[str, Any]) -> None:
    manifest["labels"].remove("Cardiomegaly")


def _compared(site: Installation) -> Any:
    result = CliRunner().invoke(app, ["compare", "--json", "--config", str(site.config)])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.slow
def test_a_shadow_reads_every_study_and_nothing_of_it_leaves(tmp_path: Path) -> None:
    shadow = other_package(tmp_path, "shadow", _without_cardiomegaly)
    files = []
    for number in range(3):
        files.append(tmp_path / f"{number}.dcm")
        write_phantom(files[-1], 9_810_000 + number, VARIANTS[0], size_px=256)
    with installation(f'[model]\nshadow = "{shadow}"\n') as site:
        site.start()
        site.send(files)
        site.wait_until(lambda: site.all_done(3), 120, "every study to be done")
        site.wait_until(
            lambda: bool(_compared(site)["models"]) and _compared(site)["models"][0]["images"] == 3,
            120,
            "the shadow",
        )
        (model,) = _compared(site)["models"]
        rows = {row["finding"]: row for row in model["findings"]}
        assert rows["Cardiomegaly"]["unknown"] == 3
        others = [row for name, row in rows.items() if name != "Cardiomegaly"]
        assert all(row["both"] + row["neither"] == 3 for row in others) and len(others) > 3
        assert model["same_reports"] == 3 and model["shadow"].startswith("shadow ")
        with site.book() as book:
            assert [study.draft_version for study in book.studies()] == [1, 1, 1]
        told = [path for path in site.results.rglob("*") if path.is_file()]
        assert told and not [path for path in told if b"shadow " in path.read_bytes()]


@pytest.fixture
def read(book: Book, tmp_path: Path) -> Iterator[tuple[Book, PosixSpool]]:
    """A book with three studies that were read."""
    spool, model = PosixSpool(tmp_path / "spool"), load_model(threads=1)
    read_phantoms(book, spool, model, _TERMS, range(9_820_000, 9_820_003))
    yield book, spool
    model.close()


def test_a_shadow_waits_while_the_real_model_works_and_reads_each_draft_once(
    read: tuple[Book, PosixSpool], tmp_path: Path
) -> None:
    book, spool = read
    package = other_package(tmp_path, "shadow", lambda m: m.update(classification_prefix="Quite other "))
    shadow = load_model(package, threads=1)
    name = shadow_name(shadow.identity)
    shadow_begins(book.engine, name, now_utc() - timedelta(hours=1))
    working = [True]
    desk = ShadowDesk(book.engine, spool, shadow, _TERMS, busy=lambda: working[0])
    ended = Event()
    Timer(0.2, ended.set).start()
    assert not desk.read_next(ended) and not list(shadow_pairs(book.engine))
    working[0] = False
    assert [desk.read_next(Event()) for _ in range(4)] == [True, True, True, False]
    shadow.close()
    pairs = list(shadow_pairs(book.engine))
    assert len(pairs) == 3 and {model for _, model, _, _ in pairs} == {name}
    (found,) = compare(pairs)
    assert found.images == 3
    counted = {row.finding: (row.both, row.only_told, row.only_shadow, row.neither) for row in found.findings}
    for label, counts in counted.items():
        calls = [
            tuple(
                any(f.presence is Presence.PRESENT for f in r.findings if f.label.name == label)
                for r in (told, other)
            )
            for _, _, told, other in pairs
        ]
        wanted = tuple(
            calls.count(case) for case in ((True, True), (True, False), (False, True), (False, False))
        )
        assert counts == wanted


@pytest.mark.parametrize("flavour", [Flavour.EQUALISED, Flavour.MIN_MAX])
def test_a_shadow_trained_on_other_pictures_reads_those_and_the_told_model_its_own(
    read: tuple[Book, PosixSpool], tmp_path: Path, flavour: Flavour
) -> None:
    book, spool = read
    package = other_package(tmp_path, "shadow", lambda m: m.update(display=flavour.value))
    shadow = _Watched(load_model(package, threads=1))
    shadow_begins(book.engine, shadow_name(shadow.identity), now_utc() - timedelta(hours=1))
    desk = ShadowDesk(book.engine, spool, cast(Model, shadow), _TERMS, busy=lambda: False)
    assert desk.read_next(Event())
    shadow.close()
    (pair,) = shadow_pairs(book.engine)
    _, name, told, other = pair
    assert name == shadow_name(shadow.identity) and told.model.name != other.model.name
    (seen,) = shadow.seen
    assert seen.flavour is flavour and seen.for_model is not None
    clinical = load_displayed(spool.path(study_images.images_of_study(book.engine, 1)[0].spool_key))
    assert np.array_equal(seen.pixels, clinical.pixels) and not np.array_equal(
        seen.for_model, clinical.pixels
    )
    (found,) = compare([pair])
    scores = [{f.label.name: f.score.raw for f in r.findings if f.score} for r in (told, other)]
    for row in found.findings:
        assert row.score_difference == pytest.approx(scores[1][row.finding] - scores[0][row.finding])
    assert found.images == 1 and sum(row.both + row.only_told for row in found.findings) == len(
        {finding.label.name for finding in told.present}
    )


class _Watched:
    """A model that notes what it is shown."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.seen: list[DisplayedImage] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def read(self, image: DisplayedImage, **more: Any) -> Reading:
        self.seen.append(image)
        return self._model.read(image, **more)


def test_what_was_read_before_there_was_a_shadow_is_not_its_to_read(
    read: tuple[Book, PosixSpool], tmp_path: Path
) -> None:
    book, spool = read
    shadow = load_model(other_package(tmp_path, "late"), threads=1)
    assert not ShadowDesk(book.engine, spool, shadow, _TERMS, busy=lambda: False).read_next(Event())
    shadow.close()


def test_a_file_that_is_gone_is_no_reason_to_try_for_ever(
    read: tuple[Book, PosixSpool], tmp_path: Path
) -> None:
    book, spool = read
    shadow = load_model(other_package(tmp_path, "shadow"), threads=1)
    shadow_begins(book.engine, shadow_name(shadow.identity), now_utc() - timedelta(hours=1))
    for held in study_images.images_of_study(book.engine, 1):
        spool.delete(held.spool_key)
    desk = ShadowDesk(book.engine, spool, shadow, _TERMS, busy=lambda: False)
    assert [desk.read_next(Event()) for _ in range(4)] == [True, True, True, False]
    shadow.close()
    assert len(list(shadow_pairs(book.engine))) == 2
