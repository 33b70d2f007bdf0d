"""Drift: a device whose images or findings change raises an alarm, one that stays as it was hardly ever does."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from pydicom import Dataset
from typer.testing import CliRunner

from clinical import CheckStatus, Permanent
from dicom_node import PosixSpool
from imaging import DecodeLimits
from inference import load_model
from service.book import Book
from service.book.observations import (
    Device,
    begin_anew,
    drift_alarms,
    forget_old,
    note_observations,
    observed,
)
from service.cli.drift import app
from service.clock import now_utc
from service.drift import CUSUM_LIMIT, DriftTerms, Observation, drift_verdicts, event_cusum, stability_index
from service.drift_watch import DriftWatch, drift_check
from service.http.metrics import metrics_text
from service.observing import device_of
from service.study_reading import ReadingTerms
from tests.service.read_studies import read_phantoms

_TERMS = DriftTerms(baseline_images=50, recent_images=30)
_DEVICE = Device("Maker", "X-1")
_WEIGHTS = "a" * 64


def _observations(count: int, seed: int, *, shift: float = 0.0, rate: float = 0.1) -> list[Observation]:
    generator = np.random.default_rng(seed)
    return [
        Observation({"gate-layout": float(value)}, {"Pneumothorax": bool(there)})
        for value, there in zip(
            generator.normal(0.8 + shift, 0.05, count), generator.random(count) < rate, strict=True
        )
    ]


def _changed(first: list[Observation], later: list[Observation], terms: DriftTerms) -> set[str]:
    return {verdict.quantity for verdict in drift_verdicts(first, later, terms) if verdict.changed}


def test_of_devices_that_stay_as_they_were_hardly_one_is_marked() -> None:
    terms = DriftTerms()
    marked = [
        _changed(_observations(200, seed), _observations(300, 1000 + seed), terms) for seed in range(200)
    ]
    assert sum(bool(quantities) for quantities in marked) <= 4


def test_a_device_that_changes_its_images_or_its_findings_is_marked() -> None:
    terms = DriftTerms()
    darker = [
        _changed(_observations(200, s), _observations(100, 500 + s, shift=-0.1), terms) for s in range(40)
    ]
    assert all("gate-layout" in quantities for quantities in darker)
    more = [_changed(_observations(200, s), _observations(100, 500 + s, rate=0.4), terms) for s in range(40)]
    assert sum("Pneumothorax" in quantities for quantities in more) >= 36
    fewer = [
        _changed(_observations(200, s, rate=0.4), _observations(100, 500 + s, rate=0.05), terms)
        for s in range(40)
    ]
    assert sum("Pneumothorax" in quantities for quantities in fewer) >= 36


def test_nothing_is_said_before_the_base_is_whole() -> None:
    assert drift_verdicts(_observations(49, 1), _observations(50, 2, shift=5), _TERMS) == ()
    assert drift_verdicts(_observations(50, 1), _observations(29, 2, shift=5), _TERMS) == ()
    assert _changed(_observations(50, 1), _observations(30, 2, shift=5), _TERMS) == {"gate-layout"}


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=30, max_size=80), st.integers(0, 1000))
def test_the_stability_index_is_finite_and_knows_no_change_in_the_same_values(
    values: list[float], seed: int
) -> None:
    before = np.array(values)
    again = np.random.default_rng(seed).permutation(before)
    assert stability_index(before, again) == pytest.approx(0, abs=1e-9)
    assert 0 <= stability_index(before, before + 1) < 20


@settings(max_examples=50, deadline=None)
@given(st.lists(st.booleans(), min_size=50, max_size=50), st.lists(st.booleans(), max_size=200))
def test_an_alarm_of_events_ends_when_they_are_usual_again(before: list[bool], after: list[bool]) -> None:
    share = max(1, sum(before)) / len(before)
    usual = [bool(x) for x in np.random.default_rng(0).random(3000) < share]
    assert 0 <= event_cusum(before, after) <= 2 * CUSUM_LIMIT
    if 0.05 < share < 0.95:
        assert event_cusum(before, [*after, *usual]) < CUSUM_LIMIT


def test_an_alarm_reaches_every_result_the_metrics_and_the_command_until_it_is_accepted(
    book: Book, book_url: str, tmp_path: Path
) -> None:
    told = [(_DEVICE, o) for o in (*_observations(50, 1), *_observations(60, 2, shift=-0.3))]
    note_observations(book.engine, told, weights_sha256=_WEIGHTS, now=now_utc())
    watch = DriftWatch(book.engine, _TERMS)
    assert watch.look() == 1 and watch.look() == 1
    (alarm,) = drift_alarms(book.engine)
    assert alarm.device == _DEVICE and "gate-layout" in alarm.evidence
    identity = replace(_identity(), weights_sha256=_WEIGHTS)
    check = drift_check(book.engine, _header("Maker", "X-1"), identity)
    assert check.status is CheckStatus.WARN and "gate-layout" in check.evidence
    assert drift_check(book.engine, _header("Maker", "X-2"), identity).status is CheckStatus.PASS
    other = replace(identity, weights_sha256="b" * 64)
    assert drift_check(book.engine, _header("Maker", "X-1"), other).status is CheckStatus.PASS
    families = {f.name: f for f in text_string_to_metric_families(metrics_text(book).decode())}
    (sample,) = families["raddraft_drift_alarm"].samples
    assert sample.labels == {"device": str(alarm.source_id), "quantity": "gate-layout"} and sample.value == 1
    config = tmp_path / "site.toml"
    config.write_text(
        f'data_dir = "{tmp_path}"\n[database]\nurl = "{book_url}"\n[drift]\nbaseline_images = 50\nrecent_images = 30\n'
    )
    listed = CliRunner().invoke(app, ["list", "--json", "--config", str(config)])
    assert listed.exit_code == 1
    (row,) = json.loads(listed.stdout)
    assert row["name"] == "Maker X-1" and (row["first"], row["later"]) == (50, 60)
    accepted = CliRunner().invoke(app, ["accept", str(alarm.source_id), "--config", str(config)])
    assert accepted.exit_code == 0, accepted.output
    assert not drift_alarms(book.engine) and watch.look() == 0
    assert CliRunner().invoke(app, ["list", "--config", str(config)]).exit_code == 0
    with pytest.raises(Permanent, match="no device"):
        begin_anew(book.engine, 99, actor="test", now=now_utc())


def test_old_observations_go_and_the_base_stays(book: Book) -> None:
    many = [(_DEVICE, Observation({"n": float(number)}, {})) for number in range(1200)]
    note_observations(book.engine, many, weights_sha256=_WEIGHTS, now=now_utc())
    assert forget_old(book.engine, 50) == 150 and forget_old(book.engine, 50) == 0
    (found,) = observed(book.engine, 50)
    assert [o.numbers["n"] for o in found.first] == [float(n) for n in range(50)]
    assert [o.numbers["n"] for o in found.later] == [float(n) for n in range(200, 1200)]


def test_a_read_study_is_observed_once_and_without_a_patient_s_data(book: Book, tmp_path: Path) -> None:
    spool, model = PosixSpool(tmp_path / "spool"), load_model(threads=1)
    terms = ReadingTerms(DecodeLimits(timeout_s=60), 60, "0" * 64, "test")
    try:
        read_phantoms(book, spool, model, terms, [9_870_000, 9_870_001])
    finally:
        model.close()
    (found,) = observed(book.engine, 50)
    assert len(found.first) == 2 and found.weights_sha256 == model.identity.weights_sha256
    for one in found.first:
        assert {"familiarity", "gate-layout", "classification confidence", "report words"} <= set(one.numbers)
        assert set(model.manifest.labels) <= set(one.events) and not one.events["withheld"]


def test_a_device_s_name_is_what_the_header_says_cut_and_clean() -> None:
    assert device_of(_header(" Maker \x00 & Co ", "X" * 80)) == Device("Maker & Co", "X" * 64)
    assert device_of(Dataset()).name == "unnamed device"


def _header(manufacturer: str, model: str) -> Dataset:
    header = Dataset()
    header.Manufacturer, header.ManufacturerModelName = manufacturer, model
    return header


def _identity() -> Any:
    model = load_model(threads=1)
    try:
        return model.identity
    finally:
        model.close()
