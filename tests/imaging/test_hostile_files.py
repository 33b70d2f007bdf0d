"""Every hostile file, through the true child process."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from clinical import Permanent, Quarantine, RadDraftError
from imaging import DecodeLimits, DisplayedImage, load_displayed

_LIMITS = DecodeLimits(timeout_s=120, memory_bytes=1_000_000_000)


def _outcome(path: Path) -> DisplayedImage | RadDraftError:
    try:
        return load_displayed(path, _LIMITS)
    except RadDraftError as refused:
        return refused


def test_every_hostile_file_is_displayed_or_refused(real_files: Path) -> None:
    paths = sorted(path for path in (real_files / "fuzz").rglob("*") if path.is_file())
    with ThreadPoolExecutor(2) as pool:
        outcomes = dict(zip([path.name for path in paths], pool.map(_outcome, paths), strict=True))
    assert all(isinstance(outcome, DisplayedImage | Quarantine | Permanent) for outcome in outcomes.values())
    refused = {name: outcome.code for name, outcome in outcomes.items() if isinstance(outcome, RadDraftError)}
    assert "decode-timeout" not in refused.values()
    too_large = [name for name, code in refused.items() if code == "too-many-pixels"]
    assert len(too_large) == 1


@pytest.mark.parametrize("content", [b"", b"DICM", bytes(200), b"<!DOCTYPE html>" * 40])
def test_what_is_not_dicom_is_quarantined(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "odd").write_bytes(content)
    outcome = _outcome(tmp_path / "odd")
    assert isinstance(outcome, Quarantine)
