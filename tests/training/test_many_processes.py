"""Training in two processes, from the command line: one log, one checkpoint, the same weights in both."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")
pytest.importorskip("accelerate")

from transformers import LlavaOnevisionForConditionalGeneration

from tests.training.micro import QUESTION, write_micro_checkpoint
from training.instructions import Row, Task
from training.instructions.row import ROWS_FILE, line_of

ANSWERS = ("There is a nodule.", "The lungs are clear.")
_TUNING = "batch_images = 1\nbf16 = false\nlearning_rate = 1e-3\nsave_every_steps = 1\n"
_PLANS = {
    "finetune": f"{_TUNING}accumulate = 2\n",
    "grpo": f"steps = 2\nquestions = 2\nrollouts = 2\nupdates = 2\nlongest_tokens = 8\n[tuning]\n{_TUNING}",
}


@pytest.mark.slow
@pytest.mark.parametrize("command", _PLANS)
def test_two_processes_train_one_checkpoint(tmp_path: Path, command: str) -> None:
    write_micro_checkpoint(tmp_path, ANSWERS)
    rows = [
        Row(str(number), f"{number}.png", Task.REPORT, ((QUESTION, ANSWERS[number % 2]),))
        for number in range(8)
    ]
    (tmp_path / ROWS_FILE).write_text("".join(line_of(row.to_json()) for row in rows))
    (tmp_path / "plan.toml").write_text(_PLANS[command])
    done = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2",
            "-m", "raddraft", "train", command, "--checkpoint", str(tmp_path / "checkpoint"),
            "--data", str(tmp_path), "--out", str(tmp_path / "out"), "--config", str(tmp_path / "plan.toml"),
        ],
        env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    log = [json.loads(line) for line in (tmp_path / "out/tuning.jsonl").read_text().splitlines()]
    # Eight rows are two steps of two processes; either process alone would have made four.
    assert [line["step"] for line in log] == [1, 2]
    LlavaOnevisionForConditionalGeneration.from_pretrained(tmp_path / "out/model")
