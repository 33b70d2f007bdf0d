"""Fine-tuning on a data set's own answers by TRL's trainer: one process or many, resumable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from datasets import Dataset
from transformers import LlavaOnevisionConfig, PrinterCallback
from trl.trainer.sft_config import SFTConfig

from training.instructions import Row
from training.tuning.plan import TuningPlan
from training.tuning.sample_batches import SampleBatches
from training.tuning.samples import SampleReader
from training.tuning.state import MODEL_FOLDER, STATE_FOLDER
from training.tuning.supervised_trainer import AnswerTrainer
from training.tuning.trainer_log import RunLog, begin_log, last_saved
from training.tuning.weights import adapters, load_whole, save_folder

_LINE = {"loss": "loss", "learning_rate": "learning_rate"}


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
        No row has at most `max_tokens` tokens, or the rows do not fill one step.
    """
    config = LlavaOnevisionConfig.from_pretrained(checkpoint)
    batches = SampleBatches(
        rows, SampleReader(checkpoint, config, image_root, plan.loss_mode), plan.max_tokens
    )
    arguments = _arguments(plan, out)
    steps = total_steps(len(rows), plan, arguments.world_size)
    if not steps:
        raise ValueError(f"{len(rows)} rows do not fill one step: lower batch_images or accumulate")
    arguments.max_steps = steps
    saved = last_saved(out)
    trainer = AnswerTrainer(
        plan,
        model=load_whole(checkpoint, plan),
        args=arguments,
        data_collator=batches,
        train_dataset=Dataset.from_dict({"row": list(range(len(rows)))}),
        processing_class=batches.reader.tokenizer,
        callbacks=[RunLog(out, _LINE, stop_after=stop_after, progress=progress)],
        peft_config=adapters(plan),
    )
    trainer.remove_callback(PrinterCallback)
    if trainer.is_world_process_zero():
        begin_log(out, saved)
    trainer.train(resume_from_checkpoint=str(saved) if saved else None)
    if stop_after is None or stop_after >= steps:
        state = trainer.accelerator.get_state_dict(trainer.model_wrapped)
        if trainer.is_world_process_zero():
            save_folder(plan, state, checkpoint, out / MODEL_FOLDER)
    return out / MODEL_FOLDER


def total_steps(rows: int, plan: TuningPlan, processes: int) -> int:
    """Steps of a run; the rows that do not fill a last step of an epoch are left for the next order."""
    return plan.epochs * (rows // (plan.batch_images * plan.accumulate * processes))


def _arguments(plan: TuningPlan, out: Path) -> SFTConfig:
    """The plan in TRL's words."""
    return SFTConfig(
        output_dir=str(out / STATE_FOLDER),
        use_cpu=not torch.accelerator.is_available(),
        seed=plan.seed,
        per_device_train_batch_size=plan.batch_images,
        gradient_accumulation_steps=plan.accumulate,
        max_length=None,  # a cut sample would lose image tokens
        max_grad_norm=plan.clip_norm,
        bf16=plan.bf16,
        activation_checkpointing=plan.gradient_checkpointing,
        activation_checkpointing_kwargs={"use_reentrant": False},
        ddp_find_unused_parameters=False,  # every row has its image
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        logging_steps=1,
        save_steps=plan.save_every_steps,
        save_total_limit=1,
        report_to=list(plan.track) or "none",
        disable_tqdm=True,
    )
