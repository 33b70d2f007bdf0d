"""Reinforcement by group relative policy optimisation, resumable as fine-tuning is.

A loop of our own: TRL's trainer takes the model's transformers processor, which cannot be built without torchvision,
and cannot go on after a kill with the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import parse_flag_from_env
from peft import PeftModel
from torch import Tensor, nn
from transformers import LlavaOnevisionConfig, LlavaOnevisionForConditionalGeneration

from training.instructions import Row
from training.tuning.grpo_plan import GrpoPlan
from training.tuning.plan import LossMode
from training.tuning.policy_loss import answer_log_probabilities, policy_loss
from training.tuning.rewards import REWARDED
from training.tuning.rollouts import Rollout, roll_out
from training.tuning.samples import SampleReader, collate
from training.tuning.state import MODEL_FOLDER, log_step, restore, save_state
from training.tuning.tracking import start_trackers
from training.tuning.weights import build_adamw, load_trainable, save_folder


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
        Fewer rewarded rows than one step asks, or the processes are to hold shards (FSDP).
    """
    asked = [row for row in rows if row.task in REWARDED]
    if parse_flag_from_env("ACCELERATE_USE_FSDP"):
        raise ValueError("learning by rewards samples answers from whole weights: start it without FSDP")
    run = _Run.begin(checkpoint, image_root, out, plan)
    if len(asked) < plan.questions * run.accelerator.num_processes:
        raise ValueError(
            f"{len(asked)} rows have a reward, one step asks {plan.questions * run.accelerator.num_processes}"
        )
    done = restore(run.accelerator, out)
    for step, mine in enumerate(_questions(asked, plan, run.accelerator), start=1):
        if step <= done:
            continue
        log_step(run.accelerator, out, step, run.step(mine, step))
        if progress:
            progress(step, plan.steps)
        if step % plan.tuning.save_every_steps == 0 or step == stop_after:
            save_state(run.accelerator, out, step)
        if step == stop_after:
            return out / MODEL_FOLDER
    run.finish(checkpoint, out / MODEL_FOLDER)
    return out / MODEL_FOLDER


def _questions(rows: Sequence[Row], plan: GrpoPlan, accelerator: Accelerator) -> Iterator[list[Row]]:
    """For each step this process's questions: one order after another, each without repetition."""
    per_step = plan.questions * accelerator.num_processes
    per_order = len(rows) // per_step
    for step in range(plan.steps):
        order, place = divmod(step, per_order)
        drawn = np.random.default_rng([plan.tuning.seed, order]).permutation(len(rows))
        chosen = drawn[place * per_step : (place + 1) * per_step]
        yield [rows[index] for index in chosen[accelerator.process_index :: accelerator.num_processes]]


@contextmanager
def _without_adapters(model: PeftModel) -> Iterator[nn.Module]:
    with model.disable_adapter():
        yield model


@dataclass(frozen=True, slots=True)
class _Pass:
    """Answers of one forward pass: their batch, and what was known of them before the model changed."""

    batch: dict[str, Tensor]
    advantage: Tensor
    before: Tensor
    reference: Tensor | None


@dataclass(frozen=True, slots=True)
class _Run:
    """The model that learns, and what it learns with."""

    plan: GrpoPlan
    accelerator: Accelerator
    reader: SampleReader
    model: nn.Module
    optimiser: torch.optim.Optimizer
    reference: nn.Module | None

    @classmethod
    def begin(cls, checkpoint: Path, image_root: Path, out: Path, plan: GrpoPlan) -> _Run:
        tuning = plan.tuning
        accelerator = Accelerator(
            mixed_precision="bf16" if tuning.bf16 else "no",
            log_with=list(tuning.track) or None,
            project_dir=out,
        )
        torch.manual_seed(tuning.seed)  # adapters begin at random
        config = LlavaOnevisionConfig.from_pretrained(checkpoint)
        reader = SampleReader(checkpoint, config, image_root, LossMode.ASSISTANT_ONLY)
        model = load_trainable(checkpoint, tuning)
        reference = None
        if plan.kl_weight and not tuning.lora_rank:
            dtype = torch.bfloat16 if tuning.bf16 else torch.float32
            reference = LlavaOnevisionForConditionalGeneration.from_pretrained(checkpoint, dtype=dtype)
            reference.requires_grad_(False).train(False).to(accelerator.device)
        model, optimiser = accelerator.prepare(model, build_adamw(model, tuning))
        start_trackers(accelerator, plan)
        return cls(plan, accelerator, reader, model, optimiser, reference)

    def step(self, rows: Sequence[Row], step: int) -> dict[str, float]:
        """Answer, judge and learn once; what came of it over all processes."""
        seeds = np.random.SeedSequence([self.plan.tuning.seed, step, self.accelerator.process_index])
        torch.manual_seed(int(seeds.generate_state(1)[0]))
        self.model.train(False)
        whole = self.accelerator.unwrap_model(self.model)
        groups = [roll_out(whole, self.reader, row, self.plan, self.accelerator.device) for row in rows]
        per_update = len(groups) // self.plan.updates
        updates = [
            [rollout for group in groups[start : start + per_update] for rollout in group]
            for start in range(0, len(groups), per_update)
        ]
        known = [[self._know(part) for part in self._parts(update)] for update in updates]
        self.model.train()
        learned = torch.stack([self._update(*pair) for pair in zip(updates, known, strict=True)]).mean(dim=0)
        every = [rollout for group in groups for rollout in group]
        answered = torch.tensor(
            [np.mean([one.reward for one in every]), np.mean([one.answer_tokens for one in every])],
            device=self.accelerator.device, dtype=torch.float32,
        )  # fmt: skip
        told: Any = self.accelerator.reduce(torch.cat([answered, learned]), reduction="mean")
        names = ("reward", "answer_tokens", "loss", "divergence", "clipped")
        return dict(zip(names, told.tolist(), strict=True))

    def _parts(self, rollouts: Sequence[Rollout]) -> Iterator[Sequence[Rollout]]:
        size = self.plan.tuning.batch_images
        return (rollouts[start : start + size] for start in range(0, len(rollouts), size))

    @torch.no_grad()
    def _know(self, rollouts: Sequence[Rollout]) -> _Pass:
        """Probabilities before the first update, by the model itself and by the reference."""
        device = self.accelerator.device
        samples = [rollout.sample for rollout in rollouts]
        batch = {key: value.to(device) for key, value in collate(samples, self.reader.pad_id).items()}
        advantage = torch.tensor([rollout.advantage for rollout in rollouts], device=device)
        with self.accelerator.autocast():
            before, _ = answer_log_probabilities(self.model, batch, self.plan.temperature)
            reference = None
            if self.plan.kl_weight:
                with self._as_it_started() as model:
                    reference, _ = answer_log_probabilities(model, batch, self.plan.temperature)
        return _Pass(batch, advantage, before, reference)

    def _as_it_started(self) -> AbstractContextManager[nn.Module]:
        """The starting checkpoint: a model of its own, or the one that learns without its adapters."""
        whole = self.accelerator.unwrap_model(self.model)
        if isinstance(whole, PeftModel):
            return _without_adapters(whole)
        if self.reference is None:
            raise RuntimeError("a reference was asked for in a run without one")
        return nullcontext(self.reference)

    def _update(self, rollouts: Sequence[Rollout], passes: Sequence[_Pass]) -> Tensor:
        """One optimiser step; mean loss, divergence and share of clipped ratios per token."""
        plan, accelerator = self.plan, self.accelerator
        own = torch.tensor(sum(rollout.answer_tokens for rollout in rollouts), device=accelerator.device)
        tokens: Any = accelerator.reduce(own, reduction="sum")
        share = accelerator.num_processes / tokens  # gradients are averaged over the processes
        total = torch.zeros(3, device=accelerator.device)
        for part in passes:
            with accelerator.autocast():
                now, mask = answer_log_probabilities(self.model, part.batch, plan.temperature)
            found = policy_loss(
                now, part.before, part.reference, part.advantage, mask,
                clip_low=plan.clip_low, clip_high=plan.clip_high, kl_weight=plan.kl_weight,
            )  # fmt: skip
            accelerator.backward(found.loss * share)
            total += torch.stack([found.loss.detach(), found.divergence, found.clipped]) * share
        accelerator.clip_grad_norm_(self.model.parameters(), plan.tuning.clip_norm)
        self.optimiser.step()
        self.optimiser.zero_grad()
        return total

    def finish(self, checkpoint: Path, folder: Path) -> None:
        """Write the checkpoint folder."""
        self.accelerator.wait_for_everyone()
        state = self.accelerator.get_state_dict(self.model)
        if self.accelerator.is_main_process:
            save_folder(self.plan.tuning, state, checkpoint, folder)
        if self.plan.tuning.track:
            self.accelerator.end_training()
