"""Where the real DICOM files are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def real_files() -> Path:
    """Folder of real DICOM files: RADDRAFT_TEST_DATA, or ``shared/data`` beside the repository."""
    stated = os.environ.get("RADDRAFT_TEST_DATA")
    folder = Path(stated) if stated else _REPOSITORY.parent / "shared" / "data"
    if not (folder / "cxr").is_dir():
        pytest.skip("no real DICOM files: set RADDRAFT_TEST_DATA to their folder")
    return folder
