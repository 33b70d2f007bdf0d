"""Reinforcement: what a step learns from, that it raises its reward, and the same bytes after a kill."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("peft")
pytest.importorskip("accelerate")

from transformers import LlavaOnevisionForConditionalGeneration  # noqa: E402

from tests.training.micro import QUESTION, write_micro_checkpoint  # noqa: E402
from training.instructions import Row, Task  # noqa: E402
from training.tuning import TuningPlan, Vision  # noqa: E402
from training.tuning.grpo import reinforce  # noqa: E402
from training.tuning.grpo_plan import GrpoPlan, read_grpo_plan  # noqa: E402
from training.tuning.loop import tune  # noqa: E402
from training.tuning.policy_loss import policy_loss  # noqa: E402
from training.tuning.rewards import reward  # noqa: E402
from training.tuning.rollouts import advantages  # noqa: E402

RECIPES = Path(__file__).parents[2] / "training" / "recipes"
ANSWERS = ("There is a nodule.", "The lungs are clear.")
BOXES = ("At [0.1, 0.1, 0.4, 0.4].", "At [0.5, 0.5, 0.9, 0.9].")
TUNING = TuningPlan(
    learning_rate=5e-3, vision_learning_rate=5e-3, batch_images=16, accumulate=1, bf16=False,
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


def test_rows_without_a_reward_are_not_asked_and_too_few_are_refused(guesser: Path, tmp_path: Path) -> None:
    silent = [replace(row, task=Task.CONVERSATION) for row in rows_of(Task.REPORT)]
    with pytest.raises(ValueError, match="3 rows have a reward, one step asks 4"):
        reinforce(guesser / "guesser/model", silent + rows_of(Task.ANATOMY)[:3], guesser, tmp_path, PLAN)
    with pytest.raises(ValueError, match="no reward for conversation"):
        reward(silent[0], "anything")


@given(st.lists(st.floats(-3, 1), min_size=2, max_size=12))
def test_advantages_of_a_group_add_up_to_nothing_and_keep_the_order(rewards: list[float]) -> None:
    found = advantages(rewards)
    assert sum(found) == pytest.approx(0, abs=1e-6)
    order = np.argsort(rewards, kind="stable")
    assert all(found[a] <= found[b] for a, b in pairwise(order))


def test_equal_rewards_teach_nothing() -> None:
    assert advantages([0.5, 0.5, 0.5]) == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "clipped"),
    [
        (1.0, 2.0, -2.0, 0),
        (1.5, 1.0, -1.28, 1),
        (0.5, 1.0, -0.5, 0),
        (0.5, -1.0, 0.8, 1),
        (1.5, -1.0, 1.5, 0),
    ],
)
def test_ratio_is_clipped_only_where_it_would_earn_more(
    ratio: float, advantage: float, loss: float, clipped: int
) -> None:
    now, before = torch.tensor([[np.log(ratio), 5.0]]), torch.zeros((1, 2))
    mask = torch.tensor([[True, False]])
    found = policy_loss(
        now, before, None, torch.tensor([advantage]), mask, clip_low=0.2, clip_high=0.28, kl_weight=0.01
    )
    assert float(found.loss) == pytest.approx(loss, abs=1e-6) and int(found.clipped) == clipped


def test_divergence_is_nothing_at_the_reference_and_positive_away_from_it() -> None:
    def loss(now: float) -> float:
        told = torch.tensor([[now]])
        zero = torch.zeros((1, 1))
        return float(
            policy_loss(
                told, told, zero, torch.zeros(1), torch.ones((1, 1), dtype=torch.bool),
                clip_low=0.2, clip_high=0.28, kl_weight=1.0,
            ).loss
        )  # fmt: skip

    assert loss(0.0) == 0.0 and loss(0.5) == pytest.approx(np.exp(-0.5) - 0.5) and loss(-0.5) > 0
    assert loss(-500.0) == 10.0


def test_shipped_plan_has_the_published_hyper_parameters(tmp_path: Path) -> None:
    plan = read_grpo_plan(RECIPES / "radvlm_grpo.toml")
    assert (plan.rollouts, plan.steps, plan.kl_weight) == (8, 300, 0.01)
    assert (plan.clip_low, plan.clip_high, plan.longest_tokens) == (0.2, 0.28, 1024)
    assert plan.tuning.learning_rate == 1e-6
    for text, error in (("steps = 1\nstep = 2", TypeError), ("rollouts = 1", ValueError),
                        ("[tuning]\nepochs = 2", ValueError), ("questions = 5", ValueError)):  # fmt: skip
        (tmp_path / "plan.toml").write_text(text)
        with pytest.raises(error):
            read_grpo_plan(tmp_path / "plan.toml")
