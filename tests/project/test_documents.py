"""The documents name commands and files that exist."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]
_DOCUMENTS = ("README.md", "CONTRIBUTING.md", "deploy/README.md")


def _targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):(?!=)", (_ROOT / "Makefile").read_text(), re.MULTILINE))


def test_make_has_the_promised_targets() -> None:
    assert {"demo", "test", "serve", "lint"} <= _targets()


@pytest.mark.parametrize("document", _DOCUMENTS)
def test_make_targets_of_a_document_exist(document: str) -> None:
    named = set(re.findall(r"(?:^|`)make ([a-z]+)\b", (_ROOT / document).read_text(), re.MULTILINE))
    assert named <= _targets()


@pytest.mark.parametrize("document", _DOCUMENTS)
def test_links_of_a_document_lead_somewhere(document: str) -> None:
    text = (_ROOT / document).read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    assert [link for link in links if not (_ROOT / document).parent.joinpath(link).exists()] == []


def test_ci_runs_lint_and_exactly_the_readmes_test_command() -> None:
    commands = (_ROOT / ".ci" / "run").read_text().splitlines()
    assert "make lint" in commands
    assert "make test" in commands
    assert re.search(r"^make test\b", (_ROOT / "README.md").read_text(), re.MULTILINE)


def test_make_passes_studies_and_arguments_on() -> None:
    shown = subprocess.run(
        ["make", "--dry-run", "demo", "STUDIES=a folder", "ARGS=--allow-not-assessed"],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    assert '-m service.cli.demo --out demo-output --studies "a folder" --allow-not-assessed' in shown
