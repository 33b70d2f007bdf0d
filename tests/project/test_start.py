"""A broken installation is refused before it reads an image."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]
_ROOMS = ("clinical", "dicom_node", "hl7_fhir", "imaging", "inference", "reporting", "service", "training")


def _raddraft(*before: Path) -> subprocess.CompletedProcess[str]:
    """`raddraft --version` with folders that come before the installation on the module path."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, before))}
    return subprocess.run(
        [sys.executable, "-P", "-c", "import raddraft; raddraft.main()", "--version"],
        cwd=before[0] if before else _ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def _distribution(folder: Path, name: str) -> None:
    metadata = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")


@pytest.mark.parametrize("room", _ROOMS)
def test_room_of_another_maker_is_refused_by_name(tmp_path: Path, room: str) -> None:
    intruder = tmp_path / room
    intruder.mkdir()
    (intruder / "__init__.py").write_text("raise SystemExit('the intruder ran')")
    ended = _raddraft(tmp_path, _ROOT)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert str(intruder) in ended.stderr
    assert "the intruder ran" not in ended.stderr


def test_single_file_with_a_rooms_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text("raise SystemExit('the intruder ran')")
    ended = _raddraft(tmp_path, _ROOT)
    assert ended.returncode == 2
    assert str(tmp_path / "service.py") in ended.stderr


def test_both_builds_of_onnxruntime_are_refused(tmp_path: Path) -> None:
    _distribution(tmp_path, "onnxruntime")
    _distribution(tmp_path, "onnxruntime-gpu")
    ended = _raddraft(tmp_path, _ROOT)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert "onnxruntime-gpu" in ended.stderr


def test_whole_installation_starts() -> None:
    ended = _raddraft(_ROOT)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.strip() == _version()


def test_import_brings_neither_torch_nor_a_room() -> None:
    code = (
        f"import sys, raddraft; print([m for m in ('torch', 'onnxruntime', *{_ROOMS}) if m in sys.modules])"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=_ROOT, capture_output=True, text=True, check=True, timeout=200
    )
    assert loaded.stdout.strip() == "[]"


def test_serving_names_bring_no_torch() -> None:
    code = "import sys, raddraft; raddraft.load_model, raddraft.build_sr; print('torch' in sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=_ROOT, capture_output=True, text=True, check=True, timeout=200
    )
    assert loaded.stdout.strip() == "False"


@pytest.mark.parametrize("module", ["service.roles", "service.cli.demo.program", "training.phantoms"])
def test_serving_and_the_demonstration_need_no_torch(module: str) -> None:
    code = f"""
import sys
for name in ("onnx", "safetensors", "torch", "transformers"):
    sys.modules[name] = None
import {module}
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=_ROOT, capture_output=True, text=True, check=False, timeout=200
    )
    assert ended.returncode == 0, ended.stderr[-2000:]


def test_public_name_without_its_extra_says_which_one() -> None:
    code = """
import sys
sys.modules["torch"] = None
import raddraft
try:
    raddraft.export_onnx
except ImportError as error:
    print(error)
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=_ROOT, capture_output=True, text=True, check=True, timeout=200
    )
    assert "raddraft[training]" in ended.stdout


def test_unknown_public_name_is_an_attribute_error() -> None:
    import raddraft

    with pytest.raises(AttributeError, match="no_such_name"):
        _ = raddraft.no_such_name
    assert {"__version__", "build_sr", "export_onnx", "load_model"} <= set(dir(raddraft))


def _version() -> str:
    import raddraft

    return raddraft.__version__
