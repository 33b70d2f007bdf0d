"""The training loop over accelerate: one process or many, and after a kill the same losses as without it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from transformers import LlavaOnevisionConfig

from training.instructions import Row
from training.tuning.plan import TuningPlan
from training.tuning.samples import Sample, SampleReader, collate
from training.tuning.weights import build_adamw, load_trainable, rate_factor, save_folder

MODEL_FOLDER = "model"
STATE_FOLDER = "state"
LOG_FILE = "tuning.jsonl"
_STEP_FILE = "step.json"


def tune(
    checkpoint: Path,
    rows: Sequence[Row],
    image_root: Path,
    out: Path,
    plan: TuningPlan,
    *,
    stop_after: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Fine-tune a checkpoint folder; returns the new one, `out/model`.

    Every process is to call this alike (`accelerate launch` starts them). State is saved every `save_every_steps`
    and the run goes on from there when called again; order and rates depend on the step alone, so the losses are
    those of an uninterrupted run. `stop_after` ends the run early at a step, as a kill after its save would.
    """
    accelerator = Accelerator(
        mixed_precision="bf16" if plan.bf16 else "no",
        gradient_accumulation_steps=plan.accumulate,
        log_with=list(plan.track) or None,
        project_dir=out,
    )
    set_seed(plan.seed)
    config = LlavaOnevisionConfig.from_pretrained(checkpoint)
    reader = SampleReader(checkpoint, config, image_root, plan.loss_mode)
    steps = total_steps(len(rows), plan, accelerator.num_processes)
    model = load_trainable(checkpoint, plan)
    optimiser = build_adamw(model, plan)
    schedule = LambdaLR(optimiser, lambda step: rate_factor(step, steps, plan.warmup_ratio))
    model, optimiser = accelerator.prepare(model, optimiser)
    accelerator.register_for_checkpointing(schedule)
    if plan.track:
        accelerator.init_trackers("raddraft", {**asdict(plan), "track": ",".join(plan.track)})
    model.train()
    done = _restore(accelerator, out)
    for step, passes in enumerate(_steps(rows, plan, accelerator), start=1):
        if step <= done:
            continue
        losses = [_backward(accelerator, model, reader, chosen, plan) for chosen in passes]
        accelerator.clip_grad_norm_(model.parameters(), plan.clip_norm)
        optimiser.step()
        optimiser.zero_grad()
        rate = float(schedule.get_last_lr()[0])
        schedule.step()
        _log(accelerator, out, step, losses, rate)
        if progress:
            progress(step, steps)
        if step % plan.save_every_steps == 0 or step == stop_after:
            _save_state(accelerator, out, step)
        if step == stop_after:
            return out / MODEL_FOLDER
    accelerator.wait_for_everyone()
    state = accelerator.get_state_dict(model)
    if accelerator.is_main_process:
        save_folder(accelerator.unwrap_model(model), state, checkpoint, out / MODEL_FOLDER)
    if plan.track:
        accelerator.end_training()
    return out / MODEL_FOLDER


def total_steps(rows: int, plan: TuningPlan, processes: int) -> int:
    """Steps of a run; the rows that do not fill a last step of an epoch are left for the next order."""
    return plan.epochs * (rows // (plan.batch_images * plan.accumulate * processes))


def _steps(rows: Sequence[Row], plan: TuningPlan, accelerator: Accelerator) -> Iterator[list[list[Row]]]:
    """For each step this process's passes, each a list of rows; a new order each epoch, the same for one seed."""
    per_step = plan.batch_images * plan.accumulate * accelerator.num_processes
    for epoch in range(plan.epochs):
        order = np.random.default_rng([plan.seed, epoch]).permutation(len(rows))
        for start in range(0, len(rows) - per_step + 1, per_step):
            mine = order[start : start + per_step][accelerator.process_index :: accelerator.num_processes]
            passes = mine.reshape(plan.accumulate, plan.batch_images)
            yield [[rows[index] for index in chosen] for chosen in passes]


def _backward(
    accelerator: Accelerator, model: nn.Module, reader: SampleReader, rows: Sequence[Row], plan: TuningPlan
) -> Tensor:
    samples = [sample for row in rows if len((sample := reader.read(row)).tokens.ids) <= plan.max_tokens]
    loss = _loss(model, samples, reader.pad_id, accelerator.device)
    accelerator.backward(loss)  # divides by the passes of a step
    return loss.detach()


def _loss(model: nn.Module, samples: Sequence[Sample], pad_id: int, device: torch.device) -> Tensor:
    if not samples:
        # Every process has to take part in the backward pass, also with nothing short enough to learn from.
        weights: list[Tensor] = [
            parameter.sum() * 0.0 for parameter in model.parameters() if parameter.requires_grad
        ]
        return torch.stack(weights).sum()
    batch = {key: value.to(device) for key, value in collate(samples, pad_id).items()}
    loss: Tensor = model(**batch, use_cache=False).loss
    return loss


def _restore(accelerator: Accelerator, out: Path) -> int:
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
        lines = (out / LOG_FILE).read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
        (out / LOG_FILE).write_text("".join(kept), encoding="utf-8")
    return step


def _save_state(accelerator: Accelerator, out: Path, step: int) -> None:
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


def _log(accelerator: Accelerator, out: Path, step: int, losses: Sequence[Tensor], rate: float) -> None:
    mean: Any = accelerator.reduce(torch.stack(list(losses)).mean(), reduction="mean")
    record = {"step": step, "loss": float(mean), "learning_rate": rate}
    accelerator.log({"loss": record["loss"], "learning_rate": rate}, step=step)
    if accelerator.is_main_process:
        with (out / LOG_FILE).open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(record) + "\n")
