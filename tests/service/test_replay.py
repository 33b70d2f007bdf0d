"""A saved result is read again to the same bytes, and where it is not, what differs is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from clinical import CheckResult, CheckStatus
from dicom_node import PosixSpool
from service.book import migrate, open_book
from service.cli.app import build_app
from service.reading_worker import reading_terms, site_model
from service.settings import load_settings
from tests.inference.packages import other_package
from tests.service.read_studies import read_phantoms


@pytest.fixture
def site(tmp_path: Path) -> tuple[Path, list[str]]:
    """Configuration of a site that has read two studies, and their UIDs."""
    config = tmp_path / "site.toml"
    config.write_text(f'data_dir = "{tmp_path / "data"}"\n[model]\nthreads = 1\n')
    settings = load_settings(config)
    (tmp_path / "data").mkdir()
    url = f"sqlite:///{tmp_path / 'data' / 'raddraft.sqlite'}"
    migrate(url)
    book = open_book(url)
    model = site_model(settings)
    spool = PosixSpool(tmp_path / "data" / "spool")
    # As a worker's readings have them: another day they would be others.
    standing = [
        CheckResult(
            "canary-gate", "1", CheckStatus.PASS, "the gate refuses blank and noise; trial of that day"
        ),
        CheckResult("drift", "1", CheckStatus.WARN, "scores have changed since that day", 0.3),
    ]
    uids = read_phantoms(book, spool, model, reading_terms(settings), (9_830_002, 9_830_003), standing)
    model.close()
    book.engine.dispose()
    return config, uids


def _replayed(config: Path, uid: str) -> tuple[int, Any]:
    result = CliRunner().invoke(build_app(), ["show", uid, "--replay", "--json", "--config", str(config)])
    return result.exit_code, json.loads(result.stdout)


def test_the_same_package_and_image_give_the_same_bytes(site: tuple[Path, list[str]]) -> None:
    config, uids = site
    for uid in uids:
        status, found = _replayed(config, uid)
        (image,) = found["replay"]["images"]
        assert status == 0 and found["same"] and not found["replay"]["changed"]
        assert image["saved_sha256"] == image["replayed_sha256"] and len(image["saved_sha256"]) == 64


def test_another_package_is_named_and_what_it_says_otherwise_too(
    site: tuple[Path, list[str]], tmp_path: Path
) -> None:
    config, uids = site
    package = other_package(tmp_path, "other", lambda m: m["operating_points"].clear())
    config.write_text(config.read_text() + f'path = "{package}"\n')
    status, found = _replayed(config, uids[0])
    assert status == 1 and not found["same"]
    assert {"name", "weights_sha256", "configuration"} <= set(found["replay"]["changed"])
    assert "findings" in found["replay"]["images"][0]["differing"]
    assert "exchanges" not in found["replay"]["images"][0]["differing"]


def test_a_study_without_a_result_is_no_study_to_replay(site: tuple[Path, list[str]]) -> None:
    result = CliRunner().invoke(build_app(), ["show", "1.2.3", "--replay", "--config", str(site[0])])
    assert result.exit_code != 0
