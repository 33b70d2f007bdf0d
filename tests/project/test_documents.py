"""The documents name commands and files that exist."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer

from dicom_node.candidates import _SENTENCES
from service.book import DeliveryState, InstanceState, StudyState
from service.cli.app import build_app
from tests.project import settings_table

_ROOT = Path(__file__).resolve().parents[2]
_DOCUMENTS = ("README.md", "CONTRIBUTING.md", "deploy/README.md")
_GUIDES = sorted(f"docs/{path.name}" for path in (_ROOT / "docs").glob("*.md"))


def _targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):(?!=)", (_ROOT / "Makefile").read_text(), re.MULTILINE))


def test_make_has_the_promised_targets() -> None:
    assert {"demo", "test", "serve", "lint"} <= _targets()


@pytest.mark.parametrize("document", _DOCUMENTS)
def test_make_targets_of_a_document_exist(document: str) -> None:
    named = set(re.findall(r"(?:^|`)make ([a-z]+)\b", (_ROOT / document).read_text(), re.MULTILINE))
    assert named <= _targets()


@pytest.mark.parametrize("document", [*_DOCUMENTS, *_GUIDES])
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


def _raddraft_lines(document: str) -> list[str]:
    text = (_ROOT / document).read_text(encoding="utf-8")
    found = re.findall(r"^(?:\$ |\.venv/bin/)raddraft (.+?)(?:\s+#.*|\s*[|;>].*)?$", text, re.MULTILINE)
    return found + [line for line in re.findall(r"`raddraft ([a-z][^`]*)`", text) if "..." not in line]


@pytest.mark.parametrize("document", [*_DOCUMENTS, *_GUIDES])
def test_raddraft_commands_of_a_document_exist_with_their_options(document: str) -> None:
    for line in _raddraft_lines(document):
        words = shlex.split(line)
        command: Any = typer.main.get_command(build_app())
        while words and hasattr(command, "commands") and words[0] != "--help":
            assert words[0] in command.commands, f"{document}: raddraft {line}"
            command = command.commands[words.pop(0)]
        options = {name for parameter in command.params for name in parameter.opts} | {"--help"}
        named = {word.split("=")[0] for word in words if word.startswith("--")}
        assert named <= options, f"{document}: raddraft {line}"


def test_the_table_of_settings_is_that_of_the_code() -> None:
    text = settings_table.DOCUMENT.read_text(encoding="utf-8")
    assert text == settings_table.with_table(text), "run: python -m tests.project.settings_table"


def test_every_state_is_explained_to_the_operator() -> None:
    text = settings_table.DOCUMENT.read_text(encoding="utf-8")
    for state in (*StudyState, *InstanceState, *DeliveryState):
        assert f"`{state.value}`" in text, state


def test_every_reason_not_to_read_is_explained_to_the_pacs_administrator() -> None:
    text = (_ROOT / "docs" / "integration.md").read_text(encoding="utf-8")
    sources = [*(_ROOT / "inference" / "gate").glob("*.py"), _ROOT / "dicom_node" / "candidates.py"]
    code = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    reasons = set(re.findall(r'Objection\(\s*"([a-z-]+)"', code)) | set(_SENTENCES)
    assert len(reasons) > 20
    assert [reason for reason in sorted(reasons) if f"`{reason}`" not in text] == []
