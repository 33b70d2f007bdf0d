"""The command line as an administrator meets it: exit status, one clear line, JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from dicom_node import Listener, ListenerSettings, PosixSpool
from service.book import migrate, open_book
from service.intake import BookLedger
from tests.service.arrivals import QUIET, arrive
from training.phantoms.dicom import VARIANTS, write_phantom

_REPOSITORY = Path(__file__).resolve().parents[2]
_STUDY = "1.2.826.0.1.77777"
Raddraft = Callable[..., "subprocess.CompletedProcess[str]"]


def run_python(
    *arguments: str, typed: str | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("RADDRAFT_")}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=_REPOSITORY,
        env={**kept, "OMP_NUM_THREADS": "1", "COLUMNS": "200", **variables},
        capture_output=True,
        text=True,
        timeout=120,
        input=typed,
    )


@pytest.fixture
def raddraft(tmp_path: Path) -> Raddraft:
    """Run `raddraft` on a data folder of this test."""

    def run(*arguments: str, typed: str | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
        variables = {"RADDRAFT_DATA_DIR": str(tmp_path / "data"), **variables}
        return run_python("-m", "raddraft", *arguments, typed=typed, **variables)

    return run


@pytest.fixture
def spool_file(tmp_path: Path) -> Path:
    """A data folder with one received object; where its file lies."""
    data = tmp_path / "data"
    url = f"sqlite:///{data / 'raddraft.sqlite'}"
    migrate(url)
    book, spool = open_book(url), PosixSpool(data / "spool")
    key = arrive(book.engine, spool, b"content", study_instance_uid=_STUDY)
    book.engine.dispose()
    return spool.path(key)


def one_line(text: str) -> str:
    (line,) = text.strip().splitlines()
    assert line.startswith("raddraft: ")
    return line


def test_a_bad_key_is_one_line_and_exits_2(raddraft: Raddraft, tmp_path: Path) -> None:
    config = tmp_path / "site.toml"
    config.write_text("[node]\nprot = 104\n", encoding="utf-8")
    done = raddraft("config", "check", "--config", str(config))
    assert (done.returncode, done.stdout) == (2, "")
    assert "unknown key 'node.prot'; did you mean 'port'?" in one_line(done.stderr)


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-command"],
        ["studies", "--no-such-option"],
        ["studies", "--state", "nonsense"],
        ["send", "only-a-path"],
        ["show", "1.2.3"],
        ["echo", "127.0.0.1", "no-port", "AET"],
        ["config", "check", "--config", "/no/such/file.toml"],
    ],
)
def test_bad_use_is_one_line_and_exits_2(raddraft: Raddraft, arguments: list[str]) -> None:
    done = raddraft(*arguments)
    assert done.returncode == 2
    one_line(done.stderr)


def test_config_show_masks_secrets(raddraft: Raddraft) -> None:
    done = raddraft("config", "show", RADDRAFT_BROKER__URL="redis://:very-secret@broker:6379/0")
    assert done.returncode == 0
    assert json.loads(done.stdout)["node"]["ae_title"] == "RADDRAFT"
    assert "very-secret" not in done.stdout + done.stderr


def test_studies_and_show_speak_json(raddraft: Raddraft, spool_file: Path) -> None:
    (study,) = json.loads(raddraft("studies", "--json").stdout)
    assert (study["study_instance_uid"], study["state"]) == (_STUDY, "receiving")
    assert json.loads(raddraft("studies", "--state", "done", "--json").stdout) == []
    assert len(json.loads(raddraft("show", _STUDY, "--json").stdout)["instances"]) == 1


def test_account_exits_1_when_a_spool_file_is_removed(raddraft: Raddraft, spool_file: Path) -> None:
    good = raddraft("account", "--json")
    assert (good.returncode, json.loads(good.stdout)["balanced"]) == (0, True)
    spool_file.unlink()
    bad = raddraft("account", "--json")
    assert (bad.returncode, json.loads(bad.stdout)["balanced"]) == (1, False)


def test_account_exits_1_when_a_file_has_other_bytes(raddraft: Raddraft, spool_file: Path) -> None:
    spool_file.write_bytes(b"changed")
    assert raddraft("account", "--deep").returncode == 1


def test_echo_and_send_reach_a_listener_and_say_when_there_is_none(
    raddraft: Raddraft, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'node.sqlite'}"
    migrate(url)
    book = open_book(url)
    listener = Listener(
        ListenerSettings(port=0, drain_s=1.0), PosixSpool(tmp_path / "spool"), BookLedger(book.engine, QUIET)
    )
    listener.start()
    port = str(listener.port)
    try:
        assert raddraft("echo", "127.0.0.1", port, "RADDRAFT").returncode == 0
        refused = raddraft("echo", "127.0.0.1", port, "OTHER")
    finally:
        listener.stop()
    assert refused.returncode == 1
    assert "association-refused" in one_line(refused.stderr)
    book.engine.dispose()


def test_model_info_knows_the_embedded_model(raddraft: Raddraft) -> None:
    done = raddraft("model", "info", "--json")
    assert done.returncode == 0, done.stderr
    assert isinstance(json.loads(done.stdout), dict)


def test_the_command_line_starts_without_torch_and_onnxruntime() -> None:
    script = (
        "import sys; from service.cli.app import build_app; build_app();"
        "print(sorted({'torch', 'transformers', 'onnxruntime'} & set(sys.modules)))"
    )
    done = run_python("-c", script)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_chat_answers_from_what_was_said_and_draws_the_box(raddraft: Raddraft, tmp_path: Path) -> None:
    image, overlay = tmp_path / "image.dcm", tmp_path / "overlay.png"
    write_phantom(image, 9_500_000, VARIANTS[0], size_px=512)
    asked = "Where is the left lung located in this Chest X-ray?\nWhere is it?\n\n"
    done = raddraft("chat", str(image), "--overlay", str(overlay), typed=asked)
    assert done.returncode == 0, done.stderr
    first, second = (line.removeprefix("> ") for line in done.stdout.splitlines()[:2])
    assert "left lung" in first
    assert second
    assert "box 1: x" in done.stderr
    assert "NOT FOR CLINICAL USE" in done.stderr
    with Image.open(overlay) as picture:
        assert picture.width >= 512


def test_asking_about_a_file_that_is_no_image_is_one_line(raddraft: Raddraft, tmp_path: Path) -> None:
    (tmp_path / "not.png").write_bytes(b"nothing")
    done = raddraft("ask", str(tmp_path / "not.png"), "What is this?")
    assert done.returncode == 2
    one_line(done.stderr)
