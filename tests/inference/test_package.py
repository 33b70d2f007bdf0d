"""A package is what its manifest says, or it is not loaded."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clinical import Permanent
from inference import describe_package, load_model, open_package

_LIMIT_BYTES = 25 * 1024 * 1024


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return Path(shutil.copytree(open_package("embedded").folder, tmp_path / "package"))


def _edit(package: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = package / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def test_the_shipped_package_is_whole_small_and_says_what_it_is() -> None:
    described = describe_package("embedded")
    assert isinstance(described["bytes"], int) and described["bytes"] <= _LIMIT_BYTES
    assert "NOT FOR CLINICAL USE" in str(described["statement"])
    manifest = open_package("embedded").manifest
    assert set(manifest.operating_points) == set(manifest.labels)
    assert all(state.measured or not state.enabled for state in manifest.tasks.values())


def test_the_shipped_package_does_not_say_on_which_machine_it_was_made() -> None:
    for path in open_package("embedded").folder.iterdir():
        content = path.read_bytes()
        assert b"site-packages" not in content and b'.py"' not in content, path.name


@pytest.mark.parametrize("name", ["decoder.onnx", "embeddings.npy", "tokenizer.json", "config.json"])
def test_a_changed_file_is_named_and_refused(package: Path, name: str) -> None:
    content = bytearray((package / name).read_bytes())
    content[len(content) // 2] ^= 1
    (package / name).write_bytes(content)
    with pytest.raises(Permanent, match=f"package-damaged.*{name}"):
        load_model(package)


def test_a_missing_file_is_named_and_refused(package: Path) -> None:
    (package / "vision.onnx").unlink()
    with pytest.raises(Permanent, match=r"package-damaged.*vision\.onnx"):
        open_package(package)


def test_a_graph_the_manifest_does_not_vouch_for_is_refused(package: Path) -> None:
    _edit(package, lambda manifest: manifest["files"].pop("decoder.onnx"))
    with pytest.raises(Permanent, match=r"package-damaged.*decoder\.onnx"):
        open_package(package)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": 1}'])
def test_a_manifest_of_another_kind_is_refused(package: Path, text: str) -> None:
    (package / "manifest.json").write_text(text)
    with pytest.raises(Permanent, match="package-damaged"):
        open_package(package)


def test_a_folder_without_a_manifest_is_no_package(tmp_path: Path) -> None:
    with pytest.raises(Permanent, match="no-model-package"):
        load_model(tmp_path)


def test_another_model_family_is_refused(package: Path) -> None:
    _edit(package, lambda manifest: manifest.update(family="qwen3_vl"))
    with pytest.raises(Permanent, match=r"model-family-unknown.*qwen3_vl"):
        open_package(package)


def test_a_task_the_manifest_does_not_list_is_off() -> None:
    assert not open_package("embedded").manifest.task("no-such-task").enabled


def test_an_unknown_provider_is_refused_by_name() -> None:
    with pytest.raises(Permanent, match=r"provider-unknown.*directml"):
        load_model("embedded", providers=("directml",))


def test_without_onnxruntime_the_extras_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(Permanent, match=r"no-onnxruntime.*'cpu' or 'gpu'"):
        load_model("embedded")
