"""Reinforcement by group relative policy optimisation on TRL's trainer, resumable as fine-tuning is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from datasets import Dataset
from transformers import LlavaOnevisionConfig, PrinterCallback
from trl.trainer.grpo_config import GRPOConfig

from training.instructions import Row
from training.tuning.grpo_plan import GrpoPlan
from training.tuning.grpo_trainer import RewardTrainer
from training.tuning.model_processor import ImageQuestionProcessor
from training.tuning.plan import LossMode
from training.tuning.rewards import REWARDED, reward_functions
from training.tuning.samples import SampleReader
from training.tuning.state import MODEL_FOLDER, STATE_FOLDER
from training.tuning.trainer_log import RunLog, begin_log, last_saved
from training.tuning.weights import adapters, load_whole, save_folder

_LINE = {
    "reward": "reward",
    "answer_tokens": "completions/mean_length",
    "loss": "loss",
    "divergence": "kl",
    "clipped": "clip_ratio/region_mean",
}


def reinforce(
    checkpoint: Path,
    rows: Sequence[Row],
    image_root: Path,
    out: Path,
    plan: GrpoPlan,
    *,
    stop_after: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Train a checkpoint folder by its rewards; returns the new one, `out/model`.

    Only rows of a rewarded task are asked; their own answers are the truth. Order and sampling depend on the seed and
    the step alone, so that a run which was killed goes on from its last saved state to the same bytes.

    Raises
    ------
    ValueError
        Fewer rewarded rows than one step asks.
    """
    asked = [row for row in rows if row.task in REWARDED]
    reader = SampleReader(
        checkpoint, LlavaOnevisionConfig.from_pretrained(checkpoint), image_root, LossMode.ASSISTANT_ONLY
    )
    arguments = _arguments(plan, out, reader)
    questions = plan.questions * arguments.world_size
    if len(asked) < questions:
        raise ValueError(f"{len(asked)} rows have a reward, one step asks {questions}")
    saved = last_saved(out)
    log = RunLog(out, _names(plan), updates=plan.updates, stop_after=stop_after, progress=progress)
    trainer = RewardTrainer(
        plan,
        model=load_whole(checkpoint, plan.tuning),
        reward_funcs=reward_functions(asked),
        args=arguments,
        train_dataset=Dataset.from_list(
            [
                {"prompt": [{"role": "user", "content": row.turns[0][0]}], "image": row.image, "row": number}
                for number, row in enumerate(asked)
            ]
        ),
        processing_class=ImageQuestionProcessor(reader.tokenizer, reader),
        callbacks=[log],
        peft_config=adapters(plan.tuning),
    )
    trainer.remove_callback(PrinterCallback)
    if trainer.is_world_process_zero():
        begin_log(out, saved, plan.updates)
    trainer.train(resume_from_checkpoint=str(saved) if saved else None)
    if stop_after is None or stop_after >= plan.steps:
        state = trainer.accelerator.get_state_dict(trainer.model_wrapped)
        if trainer.is_world_process_zero():
            save_folder(plan.tuning, state, checkpoint, out / MODEL_FOLDER)
    return out / MODEL_FOLDER


def _names(plan: GrpoPlan) -> dict[str, str]:
    return {name: theirs for name, theirs in _LINE.items() if plan.kl_weight or name != "divergence"}


def _arguments(plan: GrpoPlan, out: Path, reader: SampleReader) -> GRPOConfig:
    """The plan in TRL's words."""
    tuning = plan.tuning
    passes = plan.questions * plan.rollouts // tuning.batch_images
    return GRPOConfig(
        output_dir=str(out / STATE_FOLDER),
        use_cpu=not torch.accelerator.is_available(),
        seed=tuning.seed,
        max_steps=plan.steps * plan.updates,
        per_device_train_batch_size=tuning.batch_images,
        steps_per_generation=passes,
        gradient_accumulation_steps=passes // plan.updates,
        num_generations=plan.rollouts,
        max_completion_length=plan.longest_tokens,
        temperature=plan.temperature,
        # An image's token in an answer would ask for an image when the answer is read again.
        generation_kwargs={"suppress_tokens": list(reader.media_ids)},
        beta=plan.kl_weight,
        # TRL's own choice weighs the divergence by the probabilities' ratio, which has another gradient.
        use_bias_correction_kl=False,
        epsilon=plan.clip_low,
        epsilon_high=plan.clip_high,
        loss_type="dapo",  # every token of a step weighs the same
        scale_rewards="group",
        learning_rate=tuning.learning_rate,
        lr_scheduler_type="constant",
        max_grad_norm=tuning.clip_norm,
        bf16=tuning.bf16,
        activation_checkpointing=tuning.gradient_checkpointing,
        activation_checkpointing_kwargs={"use_reentrant": False},
        ddp_find_unused_parameters=False,  # every question has its image
        pad_to_multiple_of=None,
        logging_steps=plan.updates,
        save_steps=tuning.save_every_steps * plan.updates,
        save_total_limit=1,
        dataloader_pin_memory=False,  # what is loaded are words
        report_to=list(tuning.track) or "none",
        disable_tqdm=True,
    )
