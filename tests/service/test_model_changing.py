"""The model of a running worker is exchanged between two studies, and a package that is no good changes nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from clinical import Permanent
from inference import KnownImage
from service.book import Book
from service.book.model_orders import order_model, ordered_model
from service.book.queries import note_role
from service.book.trials import trials
from service.clock import now_utc
from service.model_changing import ModelChanger
from service.model_seat import ModelSeat
from service.reading_worker import passed_model, seated_model
from service.settings import Settings
from service.supervisor import role_command
from service.trial_clock import TrialClock
from service.worker_figures import worker_figures
from tests.inference.packages import other_package
from tests.promises.installation import Installation, installation
from training.phantoms.dicom import VARIANTS, write_phantom


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data")


@pytest.fixture
def seat(settings: Settings) -> Iterator[ModelSeat]:
    seat = ModelSeat(seated_model(settings))
    yield seat
    seat.close()


def _changer(
    book: Book, seat: ModelSeat, settings: Settings, reloaded: Settings | None = None
) -> ModelChanger:
    return ModelChanger(book.engine, seat, settings, reload=lambda: reloaded or settings, load=seated_model)


def test_the_next_study_has_the_ordered_model_and_the_one_under_way_keeps_its_own(
    book: Book, seat: ModelSeat, settings: Settings, tmp_path: Path
) -> None:
    changer = _changer(book, seat, settings)
    assert not changer.look()
    with seat.using() as before:
        order_model(book.engine, str(other_package(tmp_path, "second")))
        assert changer.look() and not changer.look()
        with seat.using() as after:
            assert after.model.identity.name == "second" != before.model.identity.name
            assert after.terms.configuration_sha256 != before.terms.configuration_sha256
        assert len(seat.models) == 2
        before.model.warm_up()  # still open: its study is under way
    assert [model.identity.name for model in seat.models] == ["second"]
    with pytest.raises(Exception, match="engine-closed"):
        before.model.warm_up()
    order_model(book.engine, None)
    assert changer.look() and ordered_model(book.engine) is None
    assert seat.current.model.identity.name == before.model.identity.name


def test_a_damaged_package_is_refused_once_and_the_old_model_goes_on(
    book: Book, seat: ModelSeat, settings: Settings, tmp_path: Path
) -> None:
    damaged = other_package(tmp_path, "damaged")
    (damaged / "decoder.onnx").write_bytes(b"x")
    changer = _changer(book, seat, settings)
    order_model(book.engine, str(damaged))
    assert not changer.look() and changer.refused == "package-damaged"
    assert seat.current.model.identity.name != "damaged"
    seat.current.model.warm_up()
    order_model(book.engine, None)
    assert not changer.look() and changer.refused == ""


def test_sighup_takes_the_model_that_the_configuration_names_now(
    book: Book, seat: ModelSeat, settings: Settings, tmp_path: Path
) -> None:
    path = str(other_package(tmp_path, "third"))
    edited = settings.model_copy(update={"model": settings.model.model_copy(update={"path": path})})
    changer = _changer(book, seat, settings, edited)
    assert not changer.look()
    changer.reload_configuration()
    assert changer.look() and seat.current.model.identity.name == "third"


def test_a_model_that_cannot_read_is_refused_before_it_takes_its_seat(
    book: Book, seat: ModelSeat, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: object) -> None:
        raise Permanent("logits-not-finite", "its package is broken")

    monkeypatch.setattr("inference.model.Model.warm_up", broken)
    changer = _changer(book, seat, settings)
    order_model(book.engine, str(other_package(tmp_path, "broken")))
    assert not changer.look() and changer.refused == "logits-not-finite"


def test_a_model_that_fails_its_trial_does_not_take_the_seat_and_the_operator_reads_why(
    book: Book, seat: ModelSeat, settings: Settings, tmp_path: Path
) -> None:
    opposite = [KnownImage(i.pixels, i.absent, i.present) for i in seat.current.model.known_images[:3]]
    clock = TrialClock(
        book.engine, seat, lambda _: opposite, every=timedelta(days=1), lowest=0.8, deadline_s=60
    )
    changer = ModelChanger(
        book.engine, seat, settings, reload=lambda: settings, load=lambda wanted: passed_model(wanted, clock)
    )
    order_model(book.engine, str(other_package(tmp_path, "blind")))
    assert not changer.look() and not changer.look()
    assert seat.current.model.identity.name != "blind"
    assert [trial.model_name for trial in trials(book.engine)] == ["blind"]
    figures = worker_figures(seat, changer, clock)
    assert figures["model_refused"] == "trial-failed"
    note_role(book.engine, "worker-gpu", ready=True, detail="", now=now_utc(), figures=figures)
    (worker,) = [role for role in book.roles() if role.figures]
    assert "known findings named" in worker.figures["model_refused_reason"]


def _raddraft(site: Installation, *arguments: str) -> str:
    import subprocess

    done = subprocess.run(
        role_command(*arguments, "--config", str(site.config)), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _metrics(site: Installation) -> str:
    return httpx.get(f"http://127.0.0.1:{site.http_port}/metrics").text


@pytest.mark.slow
def test_a_running_service_changes_its_model_without_losing_a_study(tmp_path: Path) -> None:
    files = []
    for number in range(6):
        files.append(tmp_path / f"{number}.dcm")
        write_phantom(files[-1], 9_800_000 + number, VARIANTS[0], size_px=256)
    with installation() as site:
        site.start()
        assert 'provider="CPUExecutionProvider"' in _metrics(site)
        sent = site.send(files[:3])
        assert "second" in _raddraft(site, "model", "use", str(other_package(tmp_path, "second")))
        sent += site.send(files[3:5])
        site.wait_until(lambda: site.all_done(5), 120, "every study to be done")
        assert 'model="second"' in _metrics(site) and "raddraft_worker_resident_bytes{" in _metrics(site)
        third = other_package(tmp_path, "third")
        _raddraft(site, "model", "use", "--configured", "--wait-s", "0")
        site.config.write_text(site.config.read_text() + f'\n[model]\npath = "{third}"\n')
        assert site.process is not None
        os.kill(site.process.pid, signal.SIGHUP)
        site.wait_until(lambda: 'model="third"' in _metrics(site), 60, "the third model")
        sent += site.send(files[5:])
        site.wait_until(lambda: site.all_done(6), 120, "every study to be done")
        assert [result.outcome for result in sent] == ["stored"] * 6
        account = site.account()
        assert account.balanced and account.states["analysed"] == 6
        with site.book() as book:
            drafts = [book.study(study.study_instance_uid) for study in book.studies()]
        names = {found.draft.model.name for found in drafts if found and found.draft}
        assert {"second", "third"} & names and "third" in names
