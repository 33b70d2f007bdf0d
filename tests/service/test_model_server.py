"""A model in another server reads as the same model does here, and its failures are ours to name."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from clinical import Permanent, Reading, Transient
from inference import Model, load_model, load_served_model, open_package, prompts
from service.cli.models import app
from service.model_server import HttpChatTransport
from service.reading_worker import site_model
from service.settings import ConfigurationError, load_settings
from tests.inference.chat_server import Manners, running_server
from training.phantoms import displayed, draw

_SEEDS = range(6_500_000, 6_500_003)


def _phantom(seed: int) -> Any:
    return displayed(draw(seed, 160)[0])


@pytest.fixture(scope="module")
def far() -> Iterator[tuple[str, Manners]]:
    with running_server() as running:
        yield running


@pytest.fixture(scope="module")
def here() -> Iterator[Model]:
    model = load_model(threads=1)
    yield model
    model.close()


def _served(url: str, **options: Any) -> Model:
    return load_served_model(HttpChatTransport(url, **options), open_package("embedded").folder)


def _said(reading: Reading) -> Reading:
    """A reading without where it was made and how long that took."""
    return replace(reading, stage_s=(), model=replace(reading.model, engine=""))


def test_a_served_model_reads_as_the_same_model_does_here(far: tuple[str, Manners], here: Model) -> None:
    model = _served(far[0])
    for seed in _SEEDS:
        image = _phantom(seed)
        local, served = _said(here.read(image)), _said(model.read(image))
        assert served.exchanges == local.exchanges and served.sentences == local.sentences
        assert [replace(f, score=None, checks=()) for f in served.findings] == [
            replace(f, score=None, checks=()) for f in local.findings
        ]
        for one, other in zip(served.findings, local.findings, strict=True):
            assert one.score is not None and other.score is not None
            # Alternatives beyond the twentieth are not told: their label counts as impossible.
            assert one.score.raw == pytest.approx(other.score.raw, abs=2e-3)
    model.close()
    assert (
        "test-server" in model.identity.engine
        and model.identity.weights_sha256 == here.identity.weights_sha256
    )


def test_a_conversation_with_a_served_model_is_streamed_and_knows_what_was_said(
    far: tuple[str, Manners], here: Model
) -> None:
    model = _served(far[0])
    image = _phantom(_SEEDS[0])
    talks = [one.open_conversation(image) for one in (model, here)]
    for question in (prompts.CLASSIFICATION, prompts.grounding("right lung")):
        pieces: list[str] = []
        stream = talks[0].ask_stream(question)
        while True:
            try:
                pieces.append(next(stream))
            except StopIteration as end:
                answer = end.value
                break
        assert answer == talks[1].ask(question) and "".join(pieces) == answer.text and len(pieces) > 1
    model.close()


def test_nothing_but_pixels_and_questions_is_sent(far: tuple[str, Manners]) -> None:
    far[1].requests.clear()
    model = _served(far[0])
    model.read(_phantom(_SEEDS[0]), study_instance_uid="1.2.826.0.1.4711")
    model.close()
    sent = json.dumps(far[1].requests)
    assert "4711" not in sent and len(far[1].requests) > 3
    known = {
        "model",
        "messages",
        "max_tokens",
        "temperature",
        "top_p",
        "seed",
        "stream",
        "logprobs",
        "top_logprobs",
    }
    assert set().union(*far[1].requests) - known == {
        "add_generation_prompt",
        "continue_final_message",
        "echo",
    }


def test_a_server_that_does_not_go_on_or_tell_probabilities_is_still_read(here: Model) -> None:
    image = _phantom(_SEEDS[1])
    local = here.read(image)
    for manners in (Manners(continues=False), Manners(tells_probabilities=False)):
        with running_server(manners) as (url, _):
            model = _served(url)
            reading = model.read(image)
            model.close()
        assert [e.answer for e in reading.exchanges] == [e.answer for e in local.exchanges]
        assert [f.presence for f in reading.findings] == [f.presence for f in local.findings]
        assert all(f.score is None for f in reading.findings)
        assert all((e.confidence is not None) is manners.tells_probabilities for e in reading.exchanges)


def test_a_busy_server_is_asked_again_and_a_silent_one_is_left_at_the_deadline(
    far: tuple[str, Manners],
) -> None:
    model = _served(far[0])
    far[1].busy_first = 2
    assert model.ask(_phantom(_SEEDS[0]), prompts.REPORT).text
    far[1].pause_s = 0.3
    try:
        with pytest.raises(Transient, match="deadline-passed"):
            model.read(_phantom(_SEEDS[2]), deadline_s=1.0)
    finally:
        far[1].pause_s = 0.0
    assert model.read(_phantom(_SEEDS[2])).findings
    model.close()


def test_an_answer_that_breaks_off_is_no_answer(far: tuple[str, Manners]) -> None:
    model = _served(far[0])
    far[1].breaks_off_after = 2
    try:
        with pytest.raises(Transient, match="model-server-broke-off"):
            model.ask(_phantom(_SEEDS[0]), prompts.REPORT)
    finally:
        far[1].breaks_off_after = None
    model.close()


def test_a_server_that_knows_us_not_is_named_without_its_words() -> None:
    with running_server(Manners(token="right")) as (url, _):
        with pytest.raises(Permanent, match="model-server-refuses-us") as caught:
            _served(url, api_key="wrong")
        assert "secret words" not in str(caught.value) and "wrong" not in str(caught.value)
        model = _served(url, api_key="right")
        assert model.ask(_phantom(_SEEDS[0]), prompts.REPORT).text
        model.close()


def test_a_server_that_is_away_or_no_chat_server_is_named() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        with pytest.raises(Transient, match="model-server-away"):
            HttpChatTransport(f"http://127.0.0.1:{port}/v1").models()


def test_another_model_than_the_server_has_is_refused_and_what_it_has_is_named(
    far: tuple[str, Manners],
) -> None:
    with pytest.raises(Permanent, match=r"served-model-unknown.*no model radvlm; it serves phantom"):
        load_served_model(HttpChatTransport(far[0]), open_package("embedded").folder, name="radvlm")
    with pytest.raises(Permanent, match=r"no-model-description.*model describe"):
        load_served_model(HttpChatTransport(far[0]), "embedded")


def test_a_site_configures_a_served_model(
    far: tuple[str, Manners], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site.toml"
    description = open_package("embedded").folder
    site.write_text(f'[model]\nbackend = "openai"\nbase_url = "{far[0]}"\npath = "{description}"\n')
    monkeypatch.setenv("RADDRAFT_MODEL__API_KEY", "from-the-environment")
    model = site_model(load_settings(site))
    model.warm_up()
    model.close()
    assert far[1].headers[-1]["authorization"] == "Bearer from-the-environment"


@pytest.mark.parametrize(
    ("lines", "match"),
    [("", "needs model.base_url"), ('base_url = "http://gpu.example:8000/v1"', "without TLS")],
)
def test_a_server_without_address_or_without_tls_is_refused(tmp_path: Path, lines: str, match: str) -> None:
    site = tmp_path / "site.toml"
    site.write_text(f'[model]\nbackend = "openai"\n{lines}\n')
    with pytest.raises(ConfigurationError, match=match):
        load_settings(site)


def test_a_checkpoint_of_any_family_is_described_with_the_hashes_of_its_weights(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / "config.json").write_text('{"model_type": "qwen3_vl", "dtype": "bfloat16"}')
    (checkpoint / "model-00001-of-00001.safetensors").write_bytes(b"weights")
    arguments = [
        "describe",
        str(checkpoint),
        "--out",
        str(tmp_path / "d"),
        "--name",
        "RadVLM-GRPO",
        "--version",
        "8B",
    ]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    manifest = json.loads((tmp_path / "d" / "manifest.json").read_text())
    assert (manifest["family"], manifest["precision"], manifest["name"]) == (
        "qwen3_vl",
        "bf16",
        "RadVLM-GRPO",
    )
    assert len(manifest["files"]) == 2 and "NOT FOR CLINICAL USE" in manifest["statement"]
    assert isinstance(CliRunner().invoke(app, arguments).exception, Permanent)


def test_an_image_is_sent_without_loss(far: tuple[str, Manners]) -> None:
    from tests.inference.chat_server import _read

    far[1].requests.clear()
    model = _served(far[0])
    image = np.random.default_rng(1).integers(0, 256, (77, 33), dtype=np.uint8)
    model.ask(image, prompts.REPORT)
    model.close()
    np.testing.assert_array_equal(_read(far[1].requests[-1])[1], image)
