"""Training in two processes, from the command line: one log, one checkpoint, the same weights in both."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

torch = pytest.importorskip("torch")
pytest.importorskip("peft")
pytest.importorskip("trl")

from transformers import LlavaOnevisionForConditionalGeneration  # noqa: E402

from tests.training.micro import QUESTION, write_micro_checkpoint  # noqa: E402
from training.instructions import Row, Task, read_rows  # noqa: E402
from training.instructions.row import ROWS_FILE, line_of  # noqa: E402
from training.tuning import read_plan  # noqa: E402
from training.tuning.supervised import tune  # noqa: E402

ANSWERS = ("There is a nodule.", "The lungs are clear.")
# One answer is too long to be learnt from: its process takes part with nothing of its own.
LONG = " ".join(ANSWERS * 20)
_TUNING = "batch_images = 1\nbf16 = false\nlearning_rate = 1e-3\nsave_every_steps = 1\nmax_tokens = 60\n"
_PLANS = {
    "finetune": f"{_TUNING}accumulate = 2\n",
    "longer": f"{_TUNING}accumulate = 2\nepochs = 2\n",
    "adapters": f'{_TUNING}accumulate = 2\nlora_rank = 4\nvision = "lora"\n',
    "grpo": f"steps = 2\nquestions = 2\nrollouts = 2\nupdates = 2\nlongest_tokens = 8\n[tuning]\n{_TUNING}",
}
_SHARDED = ("-m", "tests.training.sharded_on_cpu")
_RECIPE = Path(__file__).parents[2] / "training" / "recipes" / "fsdp2.yaml"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with random weights, and eight rows."""
    folder = tmp_path_factory.mktemp("many")
    write_micro_checkpoint(folder, ANSWERS)
    # Every other token ends an answer: processes are done with theirs at different times.
    generation = folder / "checkpoint/generation_config.json"
    told = json.loads(generation.read_text()) | {"eos_token_id": list(range(0, 1024, 2))}
    generation.write_text(json.dumps(told))
    answers = [LONG, *(ANSWERS[number % 2] for number in range(1, 8))]
    rows = [
        Row(str(number), f"{number}.png", Task.REPORT, ((QUESTION, answer),))
        for number, answer in enumerate(answers)
    ]
    (folder / ROWS_FILE).write_text("".join(line_of(row.to_json()) for row in rows))
    for name, plan in _PLANS.items():
        (folder / f"{name}.toml").write_text(plan)
    return folder


def command(data: Path, out: Path, plan: str, program: tuple[str, ...] = ("-m", "raddraft")) -> list[str]:
    """Two processes that train by `plan`."""
    return [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2",
        *program, "train", "grpo" if plan == "grpo" else "finetune", "--checkpoint", str(data / "checkpoint"),
        "--data", str(data), "--out", str(out), "--config", str(data / f"{plan}.toml"),
    ]  # fmt: skip


def environment(*, sharded: bool) -> dict[str, str]:
    """Of processes on a CPU; with shards as `accelerate launch` sets them by the recipe."""
    told = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    if sharded:
        recipe = yaml.safe_load(_RECIPE.read_text())["fsdp_config"]
        told |= {name.upper().replace("LAYER_CLS", "CLS"): str(value) for name, value in recipe.items()}
        told["ACCELERATE_USE_FSDP"] = "true"
    return told


def train(data: Path, out: Path, plan: str, *, sharded: bool = False, steps: int = 2) -> list[float]:
    """Losses of a run to its end; eight rows are two steps of two processes, either alone would have made four."""
    told = command(data, out, plan, _SHARDED) if sharded else command(data, out, plan)
    done = subprocess.run(
        told, env=environment(sharded=sharded), capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return losses(out, steps)


def alone(data: Path, out: Path, plan: str, *, steps: int = 2) -> list[float]:
    """Losses of the same rows in each step by one process, this one: twice the passes."""
    told = read_plan(data / f"{plan}.toml")
    tune(data / "checkpoint", list(read_rows(data)), data, out, replace(told, accumulate=2 * told.accumulate))
    return losses(out, steps)


def losses(out: Path, steps: int) -> list[float]:
    log = [json.loads(line) for line in (out / "tuning.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == list(range(1, steps + 1))
    return [line["loss"] for line in log]


def weights(out: Path) -> dict[str, torch.Tensor]:
    model = LlavaOnevisionForConditionalGeneration.from_pretrained(out / "model")
    return dict(model.state_dict())


@pytest.mark.slow
@pytest.mark.parametrize("plan", ["finetune", "adapters", "grpo"])
def test_processes_that_hold_shards_learn_what_whole_ones_learn_and_go_on_from_their_saved_shards(
    data: Path, tmp_path: Path, plan: str
) -> None:
    whole, shards = tmp_path / "whole", tmp_path / "shards"
    # Answers are sampled by process, so what shards learn by rewards is held against two processes.
    reference = train if plan == "grpo" else alone
    assert train(data, shards, plan, sharded=True) == pytest.approx(reference(data, whole, plan), abs=1e-5)
    assert list(shards.glob("state/checkpoint-*/pytorch_model_fsdp_0"))
    if plan == "finetune":
        told = train(data, shards, "longer", sharded=True, steps=4)
        assert told == pytest.approx(alone(data, whole, "longer", steps=4), abs=1e-5)
    ours, theirs = weights(shards), weights(whole)
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, atol=1e-6, rtol=0)
