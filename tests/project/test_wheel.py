"""The wheel holds the rooms with their data, and nothing of tests or deploy."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]
_ROOMS = ("clinical", "dicom_node", "hl7_fhir", "imaging", "inference", "reporting", "service", "training")
_NOT_INSTALLED = (".ci", ".github", "deploy", "docs", "tests")


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Names in a wheel built from a copy of the tree, so that no build folder is left in it."""
    pytest.importorskip("setuptools", reason="building a wheel needs setuptools")
    tree = tmp_path_factory.mktemp("tree")
    for name in (*_ROOMS, "deploy"):
        shutil.copytree(_ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(_ROOT / "tests" / "project", tree / "tests" / "project")
    for name in ("raddraft.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(_ROOT / name, tree)
    code = "from setuptools.build_meta import build_wheel; build_wheel('out')"
    (tree / "out").mkdir()
    built = subprocess.run(
        [sys.executable, "-c", code], cwd=tree, capture_output=True, text=True, timeout=200, check=False
    )
    assert built.returncode == 0, built.stderr[-2000:]
    (wheel,) = (tree / "out").glob("raddraft-*.whl")
    return zipfile.ZipFile(wheel).namelist()


def test_top_level_is_the_rooms_and_one_module(wheel_names: list[str]) -> None:
    top = {name.split("/")[0] for name in wheel_names}
    metadata = {name for name in top if name.endswith(".dist-info")}
    assert len(metadata) == 1
    assert top - metadata == {*_ROOMS, "raddraft.py"}


@pytest.mark.parametrize("room", _ROOMS)
def test_every_module_and_data_file_of_a_room_is_inside(wheel_names: list[str], room: str) -> None:
    """What the repository holds of a room is what a site gets."""
    expected = {
        path.relative_to(_ROOT).as_posix()
        for path in (_ROOT / room).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert expected - set(wheel_names) == set()


def test_tables_migrations_templates_and_recipes_are_inside(wheel_names: list[str]) -> None:
    for ending in (
        "clinical/tables/findings.csv",
        "service/book/migrations/env.py",
        "service/book/migrations/script.py.mako",
        "service/cli/demo/templates/index.html",
        "training/recipes/embedded.toml",
    ):
        assert ending in wheel_names


def test_nothing_of_tests_or_deploy_is_inside(wheel_names: list[str]) -> None:
    assert [name for name in wheel_names if name.split("/")[0] in _NOT_INSTALLED] == []
