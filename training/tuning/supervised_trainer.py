"""TRL's fine-tuning trainer with the order, the rates and the weighing of rows that the plan means."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import Sampler
from trl.trainer.sft_trainer import SFTTrainer

from training.tuning.plan import TuningPlan
from training.tuning.resuming_trainer import ResumingTrainer
from training.tuning.weights import rate_factor


class AnswerTrainer(ResumingTrainer, SFTTrainer):
    """What the plan says and TRL has no setting for.

    Order and rates depend on the seed and the step alone; a step's loss is the mean over its passes of each pass's own
    mean, so that at one image a pass a long report weighs no more than a short answer.
    """

    def __init__(self, plan: TuningPlan, **told: Any) -> None:
        self.tuning = plan
        super().__init__(**told)

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> LambdaLR:
        """A linear rise and a cosine to zero, for each group from its own rate."""
        if self.lr_scheduler is None:
            updates: Any = optimizer or self.optimizer
            self.lr_scheduler = LambdaLR(
                updates, lambda step: rate_factor(step, num_training_steps, self.tuning.warmup_ratio)
            )
        return self.lr_scheduler

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> None:
        """None: each pass is weighed by itself."""

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        rows: Any = self.train_dataset
        passes = self.args.gradient_accumulation_steps * self.args.world_size
        return RowOrder(len(rows), self.args.per_device_train_batch_size * passes, self.tuning)


class RowOrder(Sampler[int]):
    """Rows of a whole run: a new order each epoch; those that fill no step are left for the next."""

    def __init__(self, rows: int, per_step: int, plan: TuningPlan) -> None:
        self._rows, self._used, self._plan = rows, rows // per_step * per_step, plan

    def __len__(self) -> int:
        return self._plan.epochs * self._used

    def __iter__(self) -> Iterator[int]:
        for epoch in range(self._plan.epochs):
            order = np.random.default_rng([self._plan.seed, epoch]).permutation(self._rows)
            yield from order[: self._used].tolist()
