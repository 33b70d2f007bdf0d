"""The daily trial: a model that stopped looking at the picture fails it, and then nothing it says is told."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from clinical import CheckResult, CheckStatus, Permanent
from inference import KnownImage, Model, canary_checks, load_model, open_package
from inference.known_images import keep_known_images, known_images_of
from service.book import Book
from service.book.queries import note_role
from service.book.trials import latest_trial, save_trial, trials
from service.cli.models import app
from service.clock import now_utc
from service.http.metrics import metrics_text
from service.model_seat import ModelSeat, Seated
from service.reading_worker import reading_terms
from service.settings import Settings
from service.study_reading import ImageFile, read_study
from service.trial_clock import TrialClock
from tests.inference.packages import other_package
from training.phantoms import displayed, draw
from training.phantoms.dicom import VARIANTS, phantom_dataset
from training.phantoms.phantom import truth_of

_TERMS = reading_terms(Settings())


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    model = load_model(threads=1)
    yield model
    model.close()


class _Parrot:
    """A model that names the same findings whatever it is shown."""

    def __init__(self, model: Model, said: frozenset[str]) -> None:
        self.manifest, self.identity = model.manifest, model.identity
        self._said = said

    def called_present(self, image: object, *, deadline_s: float | None = None) -> frozenset[str]:
        return self._said


def _statuses(checks: tuple[CheckResult, ...]) -> dict[str, CheckStatus]:
    return {check.name: check.status for check in checks}


def _clock(book: Book, model: Model, every: timedelta = timedelta(days=1), **changed: Any) -> TrialClock:
    known = changed.get("known", lambda model: model.known_images)
    seat = ModelSeat(Seated(model, _TERMS))
    return TrialClock(book.engine, seat, known, every=every, lowest=0.8, deadline_s=60)


def test_the_shipped_model_passes_on_the_images_it_is_shipped_with(model: Model) -> None:
    checks = canary_checks(model, model.known_images, lowest=0.8)
    assert set(_statuses(checks).values()) == {CheckStatus.PASS}
    shown = {label for image in model.known_images for label in image.present}
    assert shown == set(model.manifest.labels) and any(not image.present for image in model.known_images)


@pytest.mark.parametrize("said", [frozenset({"Pneumothorax", "Pleural Effusion"}), frozenset[str]()])
def test_a_model_that_answers_without_looking_fails(model: Model, said: frozenset[str]) -> None:
    parrot: Any = _Parrot(model, said)
    found = _statuses(canary_checks(parrot, model.known_images, lowest=0.8))
    assert found["canary-known-images"] is CheckStatus.FAIL
    dependence = CheckStatus.FAIL if said else CheckStatus.NOT_RUN
    assert found["canary-image-dependence"] is dependence


def test_known_images_of_a_site_may_spell_labels_their_way_and_name_others(model: Model) -> None:
    own = [
        KnownImage(i.pixels, frozenset(x.lower() for x in i.present) | {"Gout"}, i.absent)
        for i in model.known_images
    ]
    assert canary_checks(model, own, lowest=0.8) == canary_checks(model, model.known_images, lowest=0.8)


def test_without_known_images_only_the_gate_is_tried(model: Model) -> None:
    found = canary_checks(model, (), lowest=0.8)
    assert [c.status for c in found] == [CheckStatus.PASS, CheckStatus.NOT_RUN, CheckStatus.NOT_RUN]


def test_a_loaded_model_is_tried_once_a_day_and_a_new_worker_stands_on_it_until_its_own(
    book: Book, model: Model
) -> None:
    clock = _clock(book, model)
    assert [c.status for c in clock.standing(model)] == [CheckStatus.NOT_RUN]
    assert clock.look() and not clock.look()
    assert {c.status for c in _clock(book, model).standing(model)} == {CheckStatus.PASS}
    often = _clock(book, model, every=timedelta(0))
    assert often.look() and often.look() and len(trials(book.engine)) == 3


def _contradicted(model: Model) -> list[KnownImage]:
    """Known images whose labels say the opposite of what they show."""
    return [KnownImage(i.pixels, i.absent, i.present) for i in model.known_images]


def test_a_failed_trial_is_repeated_within_minutes_of_the_repair(
    book: Book, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = {"known": _contradicted(model)}
    clock = _clock(book, model, known=lambda _: labels["known"])
    assert clock.look()
    assert CheckStatus.FAIL in {c.status for c in clock.standing(model)}
    labels["known"] = list(model.known_images)
    now = now_utc()
    monkeypatch.setattr("service.trial_clock.now_utc", lambda: now + timedelta(minutes=9))
    assert not clock.look()
    monkeypatch.setattr("service.trial_clock.now_utc", lambda: now + timedelta(minutes=11))
    assert clock.look()
    assert {c.status for c in clock.standing(model)} == {CheckStatus.PASS}
    monkeypatch.setattr("service.trial_clock.now_utc", lambda: now + timedelta(minutes=22))
    assert not clock.look()


def test_a_trial_failed_before_a_restart_or_elsewhere_withholds_until_this_load_s_own(
    book: Book, model: Model
) -> None:
    clock = _clock(book, model)
    assert [c.status for c in clock.standing(model)] == [CheckStatus.NOT_RUN]
    failed = CheckResult("canary-known-images", "1", CheckStatus.FAIL, "3 of 17 known findings named", 0.5)
    save_trial(book.engine, model.identity, (failed,), now=now_utc())
    assert [c.status for c in clock.standing(model)] == [CheckStatus.FAIL]
    assert clock.look()
    assert {c.status for c in clock.standing(model)} == {CheckStatus.PASS}


def test_a_worker_is_ready_only_with_a_model_that_passed_here_and_says_why_not(
    book: Book, model: Model
) -> None:
    labels = {"known": _contradicted(model)}
    clock = _clock(book, model, timedelta(0), known=lambda _: labels["known"])
    assert clock.problem(model) == "has not tried its model"
    clock.start()
    clock.stop()
    assert "withholds every result" in clock.problem(model) and "known findings named" in clock.problem(model)
    labels["known"] = list(model.known_images)
    assert clock.look() and not clock.problem(model)


def test_a_trial_that_cannot_be_made_is_a_reason_not_to_be_ready(book: Book, model: Model) -> None:
    def unreadable(_: Model) -> list[KnownImage]:
        raise Permanent("known-image-unreadable", "an image cannot be read")

    clock = _clock(book, model, known=unreadable)
    assert not clock.look()
    assert "known-image-unreadable" in clock.problem(model)


def test_a_pass_of_another_worker_does_not_lift_this_one_s_own_failure(book: Book, model: Model) -> None:
    failing = _clock(book, model, known=_contradicted)
    assert failing.look() and _clock(book, model).look()
    assert CheckStatus.FAIL in {c.status for c in failing.standing(model)}


def test_another_package_is_tried_anew(book: Book, model: Model, tmp_path: Path) -> None:
    _clock(book, model).look()
    other = load_model(other_package(tmp_path, "other"), threads=1)
    try:
        assert _clock(book, other, known=lambda _: model.known_images[:3]).look()
        assert latest_trial(book.engine, other.identity) is not None
    finally:
        other.close()


def test_after_a_failed_trial_results_are_withheld_with_its_evidence(
    book: Book, model: Model, tmp_path: Path
) -> None:
    failed = CheckResult("canary-known-images", "1", CheckStatus.FAIL, "3 of 17 known findings named", 0.5)
    save_trial(book.engine, model.identity, (failed,), now=now_utc())
    clock = _clock(book, model)
    dataset, _ = phantom_dataset(9_860_000, VARIANTS[0], 256)
    path = tmp_path / "image.dcm"
    dataset.save_as(path, enforce_file_format=True)
    files = [ImageFile(str(dataset.SOPInstanceUID), path)]
    read = read_study(
        str(dataset.StudyInstanceUID), 1, files, model, _TERMS, standing=lambda _: clock.standing(model)
    )
    assert read.draft.outcome == "not-assessed" and not read.draft.readings
    (check,) = read.draft.checks
    assert (
        check.name == "canary-known-images" and "3 of 17" in check.evidence and "trial of" in check.evidence
    )


def test_the_trial_is_in_the_metrics(book: Book, model: Model) -> None:
    clock = _clock(book, model)
    clock.look()
    identity = model.identity
    told = {
        "name": identity.name,
        "version": identity.version,
        "weights_sha256": identity.weights_sha256,
        "precision": identity.precision,
        "engine": identity.engine,
        "providers": {},
    }
    figures = {"model": told, "model_refused": "", "trial": clock.figures(model)}
    note_role(book.engine, "worker-gpu", ready=True, detail="", now=now_utc(), figures=figures)
    families = {f.name: f for f in text_string_to_metric_families(metrics_text(book).decode())}
    failed = {s.labels["check"]: s.value for s in families["raddraft_model_trial_failed"].samples}
    assert failed == {"canary-gate": 0, "canary-known-images": 0, "canary-image-dependence": 0}
    assert families["raddraft_model_trial_timestamp_seconds"].samples[0].value > 1e9


def _labelled(path: Path, *, wrong: bool = False) -> Path:
    """A labels file of six phantoms beside it."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "pneumothorax", "Pleural Effusion"])
        asked = ("Pneumothorax", "Pleural Effusion")
        shown = (seed for seed in itertools.count(9_861_000) if set(asked) & set(truth_of(seed).labels))
        for seed in itertools.islice(shown, 6):
            pixels, truth = draw(seed, 160)
            Image.fromarray(displayed(pixels)).save(path.parent / f"{seed}.png")
            labels = [label in truth.labels for label in asked]
            rows.writerow([f"{seed}.png", *(int(there is not wrong) for there in labels)])
    return path


def test_a_package_is_given_known_images_and_stays_the_same_model(tmp_path: Path) -> None:
    package = other_package(tmp_path, "bare")
    before = open_package(package)
    assert not known_images_of(before)
    labels = _labelled(tmp_path / "labels.csv")
    for _ in range(2):  # a second time in place of the first
        done = CliRunner().invoke(app, ["known-images", str(package), str(labels)])
        assert done.exit_code == 0, done.output
    after = open_package(package)
    kept = known_images_of(after)
    assert len(kept) == 6 and after.weights_sha256 == before.weights_sha256
    assert {label for image in kept for label in image.present} == {"Pneumothorax", "Pleural Effusion"}
    assert all(len(image.present) + len(image.absent) == 2 for image in kept)


def test_known_images_that_a_constant_answer_passes_are_refused(tmp_path: Path) -> None:
    package = other_package(tmp_path, "bare")
    shown = KnownImage(np.zeros((8, 8), dtype=np.uint8), frozenset({"Pneumothorax"}), frozenset({"Gout"}))
    with pytest.raises(Permanent, match="lack others"):
        keep_known_images(open_package(package), [shown])
    assert not known_images_of(open_package(package))


def test_the_command_tries_a_site_s_own_images_and_exits_1_where_it_fails(tmp_path: Path) -> None:
    for name, wrong in (("right", False), ("wrong", True)):
        _labelled(tmp_path / f"{name}.csv", wrong=wrong)
        arguments = ["trial", "--model", "embedded", "--images", str(tmp_path / f"{name}.csv"), "--json"]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == int(wrong), result.output
        told = {check["name"]: check for check in json.loads(result.stdout)}
        assert told["canary-known-images"]["status"] == ("fail" if wrong else "pass")


def test_nothing_is_named_of_a_healthy_phantom(model: Model) -> None:
    healthy = next(seed for seed in itertools.count(9_862_000) if not truth_of(seed).labels)
    assert not model.called_present(displayed(draw(healthy, 160)[0]))
