"""The training loop over accelerate: one process or many, and after a kill the same losses as without it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
from training.tuning.state import MODEL_FOLDER, log_step, restore, save_state
from training.tuning.tracking import start_trackers
from training.tuning.weights import build_adamw, load_trainable, rate_factor, save_folder


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

    Raises
    ------
    ValueError
        No row has at most `max_tokens` tokens.
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
    spare = _first_that_fits(rows, reader, plan)
    steps = total_steps(len(rows), plan, accelerator.num_processes)
    model = load_trainable(checkpoint, plan)
    optimiser = build_adamw(model, plan)
    schedule = LambdaLR(optimiser, lambda step: rate_factor(step, steps, plan.warmup_ratio))
    model, optimiser = accelerator.prepare(model, optimiser)
    accelerator.register_for_checkpointing(schedule)
    start_trackers(accelerator, plan)
    model.train()
    done = restore(accelerator, out)
    for step, passes in enumerate(_steps(rows, plan, accelerator), start=1):
        if step <= done:
            continue
        losses = [_backward(accelerator, model, reader, chosen, plan, spare) for chosen in passes]
        accelerator.clip_grad_norm_(model.parameters(), plan.clip_norm)
        optimiser.step()
        optimiser.zero_grad()
        rate = float(schedule.get_last_lr()[0])
        schedule.step()
        _log(accelerator, out, step, losses, rate)
        if progress:
            progress(step, steps)
        if step % plan.save_every_steps == 0 or step == stop_after:
            save_state(accelerator, out, step)
        if step == stop_after:
            return out / MODEL_FOLDER
    accelerator.wait_for_everyone()
    state = accelerator.get_state_dict(model)
    if accelerator.is_main_process:
        save_folder(plan, state, checkpoint, out / MODEL_FOLDER)
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
    accelerator: Accelerator,
    model: nn.Module,
    reader: SampleReader,
    rows: Sequence[Row],
    plan: TuningPlan,
    spare: Sample,
) -> Tensor:
    samples = [sample for row in rows if _fits(sample := reader.read(row), plan)]
    # With nothing short enough to learn from, a process still takes part in both passes: where the weights are
    # sharded, the others wait for its share of every layer.
    batch = collate(samples or [spare], reader.pad_id)
    loss: Tensor = model(
        **{key: value.to(accelerator.device) for key, value in batch.items()}, use_cache=False
    ).loss
    if not samples:
        loss = loss * 0.0
    accelerator.backward(loss)  # divides by the passes of a step
    return loss.detach()


def _fits(sample: Sample, plan: TuningPlan) -> bool:
    return len(sample.tokens.ids) <= plan.max_tokens


def _first_that_fits(rows: Sequence[Row], reader: SampleReader, plan: TuningPlan) -> Sample:
    for row in rows:
        if _fits(sample := reader.read(row), plan):
            return sample
    raise ValueError(f"none of {len(rows)} rows has at most {plan.max_tokens} tokens: raise max_tokens")


def _log(accelerator: Accelerator, out: Path, step: int, losses: Sequence[Tensor], rate: float) -> None:
    mean: Any = accelerator.reduce(torch.stack(list(losses)).mean(), reduction="mean")
    log_step(accelerator, out, step, {"loss": float(mean), "learning_rate": rate})
