"""Fine-tuning of a checkpoint folder: what learns, what carries loss, and the same losses after a kill."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")
pytest.importorskip("trl")

from accelerate.state import AcceleratorState  # noqa: E402
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: E402
from transformers import LlavaOnevisionForConditionalGeneration  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from service.cli.train import app  # noqa: E402
from tests.training.micro import QUESTION, write_micro_checkpoint  # noqa: E402
from training.instructions import Row, Task  # noqa: E402
from training.instructions.row import ROWS_FILE  # noqa: E402
from training.tuning import LossMode, TuningPlan, Vision, read_plan  # noqa: E402
from training.tuning.chat_tokens import chat_tokens  # noqa: E402
from training.tuning.llama_factory import write_llama_factory  # noqa: E402
from training.tuning.supervised import tune  # noqa: E402
from training.tuning.weights import rate_factor  # noqa: E402

RECIPES = Path(__file__).parents[2] / "training" / "recipes"
PLAN = TuningPlan(
    learning_rate=3e-3,
    vision_learning_rate=1e-3,
    batch_images=2,
    accumulate=2,
    bf16=False,
    save_every_steps=3,
)
ANSWERS = ("There is a nodule.", "The lungs are clear.")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with random weights and eight images of two kinds."""
    return write_micro_checkpoint(tmp_path_factory.mktemp("tuning"), ANSWERS)


@pytest.fixture
def rows() -> list[Row]:
    return [
        Row(str(number), f"{number % 8}.png", Task.REPORT, ((QUESTION, ANSWERS[number % 2]),))
        for number in range(40)
    ]


def losses(out: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (out / "tuning.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("mode", LossMode)
@pytest.mark.parametrize("lora_rank", [0, 4])
def test_tuning_lowers_the_loss_and_writes_a_folder_that_loads(
    folder: Path, rows: list[Row], tmp_path: Path, mode: LossMode, lora_rank: int
) -> None:
    vision = Vision.LORA if lora_rank else Vision.FULL
    plan = replace(PLAN, learning_rate=2e-2, epochs=3, loss_mode=mode, lora_rank=lora_rank, vision=vision)
    out = tune(folder / "checkpoint", rows, folder, tmp_path, plan)
    told = losses(tmp_path)
    assert len(told) == 30 and np.mean(told[-3:]) < (0.97 if lora_rank else 0.5) * told[0]
    model = LlavaOnevisionForConditionalGeneration.from_pretrained(out)
    source = LlavaOnevisionForConditionalGeneration.from_pretrained(folder / "checkpoint")
    assert model.state_dict().keys() == source.state_dict().keys()
    assert {file.name for file in out.iterdir()} == {file.name for file in (folder / "checkpoint").iterdir()}


def test_a_run_is_followed_in_tensorboard(folder: Path, rows: list[Row], tmp_path: Path) -> None:
    tune(folder / "checkpoint", rows[:8], folder, tmp_path, replace(PLAN, track=("tensorboard",)))
    (events,) = {file.parent for file in tmp_path.rglob("events.out.tfevents.*")}
    board = EventAccumulator(str(events)).Reload()
    assert [point.value for point in board.Scalars("train/loss")] == pytest.approx(losses(tmp_path), rel=1e-6)


@pytest.fixture
def new_process() -> Iterator[None]:
    """Accelerate keeps a process's first precision: before and after, it knows of none."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.usefixtures("new_process")
def test_mixed_precision_lowers_the_loss_as_full_precision_does(
    folder: Path, rows: list[Row], tmp_path: Path
) -> None:
    tune(folder / "checkpoint", rows, folder, tmp_path / "mixed", replace(PLAN, bf16=True))
    AcceleratorState._reset_state(reset_partial_state=True)
    tune(folder / "checkpoint", rows, folder, tmp_path / "full", PLAN)
    mixed, full = losses(tmp_path / "mixed"), losses(tmp_path / "full")
    assert mixed[-1] < mixed[0]
    # bfloat16 keeps eight bits of a number.
    assert mixed == pytest.approx(full, rel=2**-6)


def test_frozen_vision_tower_keeps_its_weights(folder: Path, rows: list[Row], tmp_path: Path) -> None:
    out = tune(folder / "checkpoint", rows[:8], folder, tmp_path, replace(PLAN, vision=Vision.FROZEN))
    before = LlavaOnevisionForConditionalGeneration.from_pretrained(folder / "checkpoint").state_dict()
    after = LlavaOnevisionForConditionalGeneration.from_pretrained(out).state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and not any("vision_tower" in name for name in changed)


@pytest.mark.parametrize("lora_rank", [0, 4])
def test_killed_run_goes_on_with_the_losses_of_an_uninterrupted_one(
    folder: Path, rows: list[Row], tmp_path: Path, lora_rank: int
) -> None:
    plan = replace(PLAN, lora_rank=lora_rank, epochs=1)
    whole = tune(folder / "checkpoint", rows, folder, tmp_path / "whole", plan)
    tune(folder / "checkpoint", rows, folder, tmp_path / "killed", plan, stop_after=4)
    with (tmp_path / "killed/tuning.jsonl").open("a") as log:
        log.write('{"step": 5, "loss": 99}\n{"step": 6, "lo')
    resumed = tune(folder / "checkpoint", rows, folder, tmp_path / "killed", plan)
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    first = LlavaOnevisionForConditionalGeneration.from_pretrained(whole).state_dict()
    second = LlavaOnevisionForConditionalGeneration.from_pretrained(resumed).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_folder_without_rows_is_named_with_what_writes_them(folder: Path) -> None:
    told = ["finetune", "--checkpoint", folder / "checkpoint", "--data", folder, "--out", folder / "out"]
    done = CliRunner().invoke(app, list(map(str, told)), terminal_width=200)
    assert done.exit_code == 2 and "raddraft train instructions" in " ".join(done.output.split())


@pytest.mark.parametrize("command", ["finetune", "grpo"])
def test_without_the_extra_one_line_says_what_to_install(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    for name in [name for name in sys.modules if name.startswith(("training.tuning.", "trl."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "trl", None)
    (data := tmp_path / "data").mkdir()
    (data / ROWS_FILE).touch()
    told = [command, "--checkpoint", folder / "checkpoint", "--data", data, "--out", folder / "out"]
    done = CliRunner().invoke(app, list(map(str, told)), terminal_width=200)
    extra = "sft" if command == "finetune" else "grpo"
    assert done.exit_code == 2
    assert f"trl is missing: pip install 'raddraft[{extra}]'" in " ".join(done.output.split())


CONVERSATION = Row("1", "x.png", Task.CONVERSATION, (("Q?", "A."), ("R?", "B.")))


def letters(text: str) -> list[int]:
    """Ids by which a test can read a sequence: specials in the hundreds, every other character its code."""
    ids: list[int] = []
    specials = {"<|im_start|>": 201, "<|im_end|>": 202, "<image>": 203}
    while text:
        special = next((name for name in specials if text.startswith(name)), None)
        ids.append(specials[special] if special else ord(text[0]))
        text = text[len(special) if special else 1 :]
    return ids


def spelled(ids: tuple[int, ...]) -> str:
    named = {201: "<s>", 202: "<e>", 203: "<i>", -100: "_"}
    return "".join(named.get(index, chr(index) if index >= 0 else "?") for index in ids)


def test_answers_alone_carry_loss_in_the_form_the_model_is_asked_in() -> None:
    tokens = chat_tokens(CONVERSATION, letters, LossMode.ASSISTANT_ONLY)
    assert spelled(tokens.ids) == (
        "<s>user\n<i>\nQ?<e>\n<s>assistant\nA.<e>\n<s>user\nR?<e>\n<s>assistant\nB.<e>"
    )
    assert spelled(tokens.targets).replace("_", "") == "A.<e>B.<e>"


def test_compat_has_a_system_turn_and_loss_on_every_marker_and_line_feed() -> None:
    tokens = chat_tokens(CONVERSATION, letters, LossMode.RADVLM_COMPAT)
    assert spelled(tokens.ids) == (
        "<s>system\nYou are a helpful assistant.<e>\n<s>user\n<i>\nQ?<e>\n<s>assistant\nA.<e>\n"
        "<s>user\nR?<e>\n<s>assistant\nB.<e>\n"
    )
    assert spelled(tokens.targets).replace("_", "") == (
        "<s>\n<e>\n<s>\n\n<e>\n<s>assistant\nA.<e>\n<s>\n<e>\n<s>assistant\nB.<e>\n"
    )


def test_image_tokens_take_the_images_place_without_loss() -> None:
    tokens = chat_tokens(CONVERSATION, letters, LossMode.ASSISTANT_ONLY)
    filled = tokens.with_image(203, 4)
    assert filled.ids.count(203) == 4 and len(filled.ids) == len(tokens.ids) + 3 == len(filled.targets)
    assert all(
        target == -100 for index, target in zip(filled.ids, filled.targets, strict=True) if index == 203
    )


def test_rate_rises_linearly_and_falls_to_zero() -> None:
    factors = [rate_factor(step, 100, 0.1) for step in range(101)]
    assert factors[0] == pytest.approx(0.1) and factors[9] == factors[10] == pytest.approx(1.0)
    assert factors[100] == pytest.approx(0.0)
    assert all(later <= earlier for earlier, later in pairwise(factors[10:]))


@pytest.mark.parametrize("name", ["radvlm.toml", "radvlm_lora.toml"])
def test_shipped_plans_read(name: str) -> None:
    plan = read_plan(RECIPES / name)
    assert plan.epochs == 1 and plan.bf16


def test_llama_factory_is_told_the_same_run(folder: Path, tmp_path: Path) -> None:
    plan = replace(read_plan(RECIPES / "radvlm_lora.toml"), learning_rate=5e-5)
    info, training = write_llama_factory(folder / "checkpoint", tmp_path, folder, tmp_path / "lf", plan)
    dataset = json.loads(info.read_text())["radvlm"]
    assert dataset["formatting"] == "sharegpt" and dataset["tags"]["user_tag"] == "human"
    text = training.read_text()
    assert "finetuning_type: lora" in text and "lora_rank: 64" in text and "5.0e-05" in text
