"""What a killed run goes on from: the saved state, the step it was saved at, and the log up to there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from accelerate import Accelerator

MODEL_FOLDER = "model"
STATE_FOLDER = "state"
LOG_FILE = "tuning.jsonl"
_STEP_FILE = "step.json"


def restore(accelerator: Accelerator, out: Path) -> int:
    """Load the last saved state, if there is one; returns its step. Later lines of the log are cut off."""
    folder, part = out / STATE_FOLDER, out / f"{STATE_FOLDER}.part"
    if accelerator.is_main_process and not folder.exists() and (part / _STEP_FILE).exists():
        part.rename(folder)
    accelerator.wait_for_everyone()
    if not (folder / _STEP_FILE).exists():
        (out / LOG_FILE).unlink(missing_ok=True)
        out.mkdir(parents=True, exist_ok=True)
        return 0
    accelerator.load_state(str(folder))
    step = int(json.loads((folder / _STEP_FILE).read_text(encoding="utf-8"))["step"])
    if accelerator.is_main_process:
        cut_log(out, step)
    return step


def cut_log(out: Path, step: int) -> None:
    """Leave the log's whole lines up to a step; what was written after the state was saved is written again."""
    if not step or not (out / LOG_FILE).exists():
        (out / LOG_FILE).unlink(missing_ok=True)
        return
    lines = (out / LOG_FILE).read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
    (out / LOG_FILE).write_text("".join(kept), encoding="utf-8")


def save_state(accelerator: Accelerator, out: Path, step: int) -> None:
    """State in a fresh folder, then in the place of the old one: a kill in between leaves one of the two."""
    part = out / f"{STATE_FOLDER}.part"
    if accelerator.is_main_process:
        shutil.rmtree(part, ignore_errors=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(part))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        (part / _STEP_FILE).write_text(json.dumps({"step": step}), encoding="utf-8")
        shutil.rmtree(out / STATE_FOLDER, ignore_errors=True)
        part.rename(out / STATE_FOLDER)


def log_step(accelerator: Accelerator, out: Path, step: int, values: Mapping[str, float]) -> None:
    """One line of the log, and the same to the trackers."""
    accelerator.log(dict(values), step=step)
    if accelerator.is_main_process:
        with (out / LOG_FILE).open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"step": step, **values}) + "\n")
