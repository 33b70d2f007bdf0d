"""TRL's GRPO trainer, asked so that a killed run goes on to the same weights, and a question at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from peft import PeftModel
from torch.utils.data import Sampler
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from training.tuning.grpo_plan import GrpoPlan
from training.tuning.resuming_trainer import ResumingTrainer


class RewardTrainer(ResumingTrainer, GRPOTrainer):
    """What the plan says and TRL has no setting for.

    Order and sampling depend on the seed and the step alone; answers are sampled a question at a time, because the
    keys and values of a whole step's images would not fit.
    """

    def __init__(self, plan: GrpoPlan, **told: Any) -> None:
        self._plan, self.tuning = plan, plan.tuning
        super().__init__(**told)
        answers: Any = self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model
        # Processes that hold shards ask one another for layers, so all of them sample until the last is done;
        # transformers looks for the mark that its own sharding leaves.
        answers._is_fsdp_managed_module = self.is_fsdp_enabled
        reference: Any = self.ref_model
        if reference is not None and plan.tuning.bf16:
            reference.to(torch.bfloat16)

    def _get_train_sampler(self, dataset: Any = None) -> Sampler[int]:
        rows, arguments = self.train_dataset, self.args
        if not isinstance(rows, Dataset) or not isinstance(arguments, GRPOConfig):
            raise TypeError("questions are drawn from rows that can be counted")
        passes = int(arguments.steps_per_generation or 1)
        return QuestionOrder(len(rows), self._plan.questions * arguments.world_size, passes, self._plan)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        step = self.state.global_step // self._plan.updates
        seeds = np.random.SeedSequence([self._plan.tuning.seed, step, self.accelerator.process_index])
        torch.manual_seed(int(seeds.generate_state(1)[0]))
        answered: dict[str, Any] = super()._generate_and_score_completions(inputs)
        return answered

    def _generate_single_turn(
        self, prompt_ids: list[Any], images: Any, multimodal_fields: dict[str, Any], *told: Any, **named: Any
    ) -> tuple[list[list[int]], None]:
        answers: list[list[int]] = []
        for start in range(0, len(prompt_ids), self._plan.rollouts):
            part = slice(start, start + self._plan.rollouts)
            fields = {name: values[part] for name, values in multimodal_fields.items()}
            said = super()._generate_single_turn(prompt_ids[part], images[part], fields, *told, **named)  # type: ignore[no-untyped-call]
            answers += said[0]
        return answers, None


class QuestionOrder(Sampler[int]):
    """Rows of a whole run: one order after another, each without repetition.

    A step's questions stand `rollouts` times each, for as many passes as the trainer makes of a step.
    """

    def __init__(self, rows: int, questions: int, passes: int, plan: GrpoPlan) -> None:
        self._rows, self._questions, self._passes, self._plan = rows, questions, passes, plan

    def __len__(self) -> int:
        return self._plan.steps * self._passes * self._questions * self._plan.rollouts

    def __iter__(self) -> Iterator[int]:
        per_order = self._rows // self._questions
        for step in range(self._plan.steps):
            order, place = divmod(step, per_order)
            drawn = np.random.default_rng([self._plan.tuning.seed, order]).permutation(self._rows)
            chosen = drawn[place * self._questions : (place + 1) * self._questions]
            for _ in range(self._passes):
                yield from np.repeat(chosen, self._plan.rollouts).tolist()
