"""Reinforcement: what the model is shown and asked, that it raises its reward, and the same bytes after a kill."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")
pytest.importorskip("trl")

from transformers import (  # noqa: E402
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionModel,
)

from inference.prompts import first_turn  # noqa: E402
from tests.training.micro import QUESTION, write_micro_checkpoint  # noqa: E402
from training.instructions import Row, Task  # noqa: E402
from training.tuning import LossMode, TuningPlan, Vision  # noqa: E402
from training.tuning.grpo import reinforce  # noqa: E402
from training.tuning.grpo_plan import GrpoPlan, read_grpo_plan  # noqa: E402
from training.tuning.grpo_trainer import RewardTrainer  # noqa: E402
from training.tuning.rewards import reward  # noqa: E402
from training.tuning.samples import Sample, SampleReader  # noqa: E402
from training.tuning.supervised import tune  # noqa: E402

RECIPES = Path(__file__).parents[2] / "training" / "recipes"
ANSWERS = ("There is a nodule.", "The lungs are clear.")
BOXES = ("At [0.1, 0.1, 0.4, 0.4].", "At [0.5, 0.5, 0.9, 0.9].")
TUNING = TuningPlan(
    learning_rate=5e-3, vision_learning_rate=5e-3, batch_images=8, accumulate=1, bf16=False,
    gradient_checkpointing=False, save_every_steps=2,
)  # fmt: skip
PLAN = GrpoPlan(TUNING, steps=4, questions=4, rollouts=4, updates=2, longest_tokens=16)


def rows_of(task: Task, *, wrong: float = 0.0) -> list[Row]:
    """Questions about dark and bright images; a share of the answers is the other image's."""
    rng = np.random.default_rng(0)
    answers = ANSWERS if task is Task.REPORT else BOXES
    return [
        Row(
            str(number), f"{number % 8}.png", task,
            ((QUESTION, answers[(number + int(rng.random() < wrong)) % 2]),),
        )
        for number in range(80)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def guesser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that has learned the form of the reports and says the wrong one a third of the time."""
    root = write_micro_checkpoint(tmp_path_factory.mktemp("grpo"), [*ANSWERS, *BOXES])
    plan = replace(TUNING, learning_rate=1e-2, vision_learning_rate=3e-3, batch_images=8, epochs=20)
    plan = replace(plan, save_every_steps=1000)
    tune(root / "checkpoint", rows_of(Task.REPORT, wrong=0.35), root, root / "guesser", plan)
    return root


def told(out: Path, key: str) -> list[float]:
    return [json.loads(line)[key] for line in (out / "tuning.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("lora_rank", [0, 8])
def test_reinforcement_raises_its_reward_and_writes_a_folder_that_loads(
    guesser: Path, tmp_path: Path, lora_rank: int
) -> None:
    rate, vision = (4e-3, Vision.LORA) if lora_rank else (2e-3, Vision.FULL)
    tuning = replace(
        TUNING, learning_rate=rate, vision_learning_rate=rate, lora_rank=lora_rank, vision=vision
    )
    plan = replace(PLAN, tuning=tuning, steps=10, questions=8, rollouts=12, updates=1)
    out = reinforce(guesser / "guesser/model", rows_of(Task.REPORT), guesser, tmp_path, plan)
    rewards = told(tmp_path, "reward")
    assert np.mean(rewards[-4:]) > np.mean(rewards[:3]) + 0.1
    assert max(told(tmp_path, "divergence")) > 0
    model = LlavaOnevisionForConditionalGeneration.from_pretrained(out)
    source = LlavaOnevisionForConditionalGeneration.from_pretrained(guesser / "guesser/model")
    assert model.state_dict().keys() == source.state_dict().keys()


@pytest.mark.parametrize("lora_rank", [0, 4])
def test_killed_run_goes_on_to_the_same_bytes(guesser: Path, tmp_path: Path, lora_rank: int) -> None:
    plan = replace(PLAN, tuning=replace(TUNING, lora_rank=lora_rank))
    start, rows = guesser / "guesser/model", rows_of(Task.REPORT)[:8] + rows_of(Task.ANATOMY)[:8]
    whole = reinforce(start, rows, guesser, tmp_path / "whole", plan)
    reinforce(start, rows, guesser, tmp_path / "killed", plan, stop_after=3)
    with (tmp_path / "killed/tuning.jsonl").open("a") as log:
        log.write('{"step": 4, "rew')
    resumed = reinforce(start, rows, guesser, tmp_path / "killed", plan)
    logs = [(tmp_path / name / "tuning.jsonl").read_bytes() for name in ("whole", "killed")]
    assert logs[0] == logs[1]
    weights = [(folder / "model.safetensors").read_bytes() for folder in (whole, resumed)]
    assert weights[0] == weights[1]


@pytest.fixture
def several_tiles(guesser: Path, tmp_path: Path) -> Path:
    """The checkpoint with two grids to choose from, so that images differ in their number of tiles."""
    folder = shutil.copytree(guesser / "guesser/model", tmp_path / "several_tiles")
    for name in ("config.json", "preprocessor_config.json"):
        content = json.loads((folder / name).read_text())
        content["image_grid_pinpoints"] = [[32, 32], [32, 64]]
        (folder / name).write_text(json.dumps(content))
    return folder


def test_model_is_asked_and_shown_what_the_serving_code_asks_and_shows(
    guesser: Path, several_tiles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, torch.Tensor]] = []
    learnt: list[dict[str, torch.Tensor]] = []
    generate, forward = LlavaOnevisionForConditionalGeneration.generate, LlavaOnevisionModel.forward

    def generated(model: object, **told: torch.Tensor) -> torch.Tensor:
        asked.append(told)
        return generate(model, **told)

    def learned(model: torch.nn.Module, **told: torch.Tensor) -> object:
        if torch.is_grad_enabled():
            learnt.append(told)
        return forward(model, **told)

    monkeypatch.setattr(LlavaOnevisionForConditionalGeneration, "generate", generated)
    monkeypatch.setattr(LlavaOnevisionModel, "forward", learned)
    monkeypatch.setattr("trl.trainer.base_trainer.send_telemetry", None)
    monkeypatch.delenv("CI", raising=False)  # TRL sends nothing there
    rows = rows_of(Task.REPORT)[:8]
    plan = replace(PLAN, tuning=replace(TUNING, batch_images=4), steps=1, questions=8, rollouts=2, updates=1)
    reinforce(several_tiles, rows, guesser, tmp_path / "out", plan)

    config = LlavaOnevisionConfig.from_pretrained(several_tiles)
    reader = SampleReader(several_tiles, config, guesser, LossMode.ASSISTANT_ONLY)
    prompts = {}
    for row in rows:
        sample = reader.ask(row)
        assert spelled(reader, sample) == first_turn(QUESTION)
        prompts[sample.tokens.ids, sample.tiles.image] = torch.from_numpy(sample.tiles.pixel_values)
    assert len({len(tiles) for tiles in prompts.values()}) > 1
    assert {shown(batch, number, prompts) for batch in asked for number in range(2)} == set(prompts)
    assert sum(len(batch["input_ids"]) for batch in learnt) == 16
    assert {shown(batch, number, prompts) for batch in learnt for number in range(4)} == set(prompts)


def spelled(reader: SampleReader, sample: Sample) -> str:
    """A prompt's text, the image's many tokens as one."""
    text = reader.tokenizer.decode(sample.tokens.ids, skip_special_tokens=False)
    return re.sub("(<image>)+", "<image>", str(text))


def shown(
    batch: dict[str, torch.Tensor],
    number: int,
    prompts: dict[tuple[tuple[int, ...], tuple[int, int]], torch.Tensor],
) -> tuple[tuple[int, ...], tuple[int, int]]:
    """Which prompt a row of a batch begins with; its tiles must be that prompt's."""
    ids = batch["input_ids"][number][batch["attention_mask"][number].bool()].tolist()
    rows, columns = batch["image_sizes"][number].tolist()
    (prompt,) = [key for key in prompts if key[1] == (rows, columns) and tuple(ids[: len(key[0])]) == key[0]]
    tiles = prompts[prompt]
    assert torch.equal(batch["pixel_values"][number, : len(tiles)], tiles)
    return prompt


def test_rows_without_a_reward_are_not_asked_and_too_few_are_refused(guesser: Path, tmp_path: Path) -> None:
    silent = [replace(row, task=Task.CONVERSATION) for row in rows_of(Task.REPORT)]
    with pytest.raises(ValueError, match="3 rows have a reward, one step asks 4"):
        reinforce(guesser / "guesser/model", silent + rows_of(Task.ANATOMY)[:3], guesser, tmp_path, PLAN)
    with pytest.raises(ValueError, match="no reward for conversation"):
        reward(silent[0], "anything")


def test_divergence_pulls_as_the_published_estimator_does(
    guesser: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On policy, with every answer as good as the next, what is left of the loss is the divergence: k3 of Schulman."""
    pulls: list[torch.Tensor] = []

    def loss(trainer: RewardTrainer, model: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        mask = inputs["completion_mask"].bool()
        said = torch.where(mask, -1.0, 0.0).requires_grad_()
        known = said.detach() - torch.linspace(-1, 1, said.numel()).view_as(said)
        told = {**inputs, "ref_per_token_logps": known, "advantages": torch.zeros(len(said))}
        told |= {"old_per_token_logps": said.detach(), "num_items_in_batch": torch.tensor(1.0)}
        monkeypatch.setattr(
            trainer,
            "_get_per_token_logps_and_entropies",
            lambda *_, **__: (said, torch.zeros_like(said), None),
        )
        (pull,) = torch.autograd.grad(original(trainer, model, told), said)
        published = 1 - torch.exp(known - said.detach())
        pulls.append((pull / published)[mask])
        raise StopIteration

    original = RewardTrainer._compute_loss
    monkeypatch.setattr(RewardTrainer, "_compute_loss", loss)
    plan = replace(PLAN, steps=1, kl_weight=0.5)
    with pytest.raises(StopIteration):
        reinforce(guesser / "guesser/model", rows_of(Task.REPORT), guesser, tmp_path, plan)
    # One factor for all tokens: the weight, and how many tokens share the loss.
    assert torch.allclose(pulls[0], pulls[0][0].expand_as(pulls[0]), rtol=1e-3) and pulls[0][0] > 0


def test_shipped_plan_has_the_published_hyper_parameters(tmp_path: Path) -> None:
    plan = read_grpo_plan(RECIPES / "radvlm_grpo.toml")
    assert (plan.rollouts, plan.steps, plan.kl_weight) == (8, 300, 0.01)
    assert (plan.clip_low, plan.clip_high, plan.longest_tokens) == (0.2, 0.28, 1024)
    assert plan.tuning.learning_rate == 1e-6
    for text, error in (("steps = 1\nstep = 2", TypeError), ("rollouts = 1", ValueError),
                        ("[tuning]\nepochs = 2", ValueError), ("questions = 5", ValueError),
                        ("questions = 4\n[tuning]\nbatch_images = 3", ValueError)):  # fmt: skip
        (tmp_path / "plan.toml").write_text(text)
        with pytest.raises(error):
            read_grpo_plan(tmp_path / "plan.toml")
