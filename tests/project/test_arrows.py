"""The arrows between the rooms hold, and the contracts that say so can fail."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("importlinter", reason="import-linter comes with the extra dev")

_ROOT = Path(__file__).resolve().parents[2]
_ROOMS = ("clinical", "dicom_node", "hl7_fhir", "imaging", "inference", "reporting", "service", "training")
_LINT = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"


def _lint(tree: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _LINT], cwd=tree, capture_output=True, text=True, timeout=200, check=False
    )


def test_arrows_hold() -> None:
    linted = _lint(_ROOT)
    assert linted.returncode == 0, linted.stdout[-3000:]


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("clinical", "import imaging"),
        ("dicom_node", "import imaging"),
        ("hl7_fhir", "import reporting"),
        ("inference", "import reporting"),
        ("inference", "import torch"),
        ("inference", "import sqlalchemy"),
        ("reporting", "import service"),
        ("reporting", "import httpx"),
        ("service", "import training"),
        ("service", "import torch"),
        ("training", "import service"),
        ("training", "import dicom_node"),
    ],
)
def test_forbidden_arrow_is_found(tmp_path: Path, room: str, line: str) -> None:
    for name in _ROOMS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
    shutil.copy(_ROOT / "pyproject.toml", tmp_path)
    assert _lint(tmp_path).returncode == 0
    (tmp_path / room / "arrow.py").write_text(f"{line}\n")
    assert _lint(tmp_path).returncode == 1


def test_command_line_may_import_training(tmp_path: Path) -> None:
    for name in (*_ROOMS, "service/cli"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
    shutil.copy(_ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "service" / "cli" / "train.py").write_text("import training\n")
    (tmp_path / "training" / "finetune.py").write_text("import torch\n")
    linted = _lint(tmp_path)
    assert linted.returncode == 0, linted.stdout[-3000:]
