"""What transformers' trainer is asked for here and has no setting for, whatever it learns by."""

from __future__ import annotations

from typing import Any

import torch
from accelerate.utils import is_peft_model
from torch import nn
from transformers import LlavaOnevisionForConditionalGeneration, Trainer

from training.tuning.plan import TuningPlan
from training.tuning.weights import build_adamw


class ResumingTrainer(Trainer):
    """Goes on from a saved state with its weights; the vision tower has a rate of its own; nothing is sent."""

    tuning: TuningPlan

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW with the vision tower's weights at their own rate."""
        if self.optimizer is None:
            learns: Any = model or self.model
            self.optimizer = build_adamw(learns, self.tuning)
        return self.optimizer

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """None: the folder that is written has its source's."""

    def _send_telemetry(self) -> None:
        """TRL would tell its makers of each run."""

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        """Read whole weights by their own class.

        A folder names them as LLaVA-OneVision's makers do, the model otherwise; the trainer would find none of them
        and go on with the weights of the start.
        """
        if self.is_fsdp_enabled or is_peft_model(self.model):
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        whole: Any = self.model
        saved = LlavaOnevisionForConditionalGeneration.from_pretrained(
            resume_from_checkpoint, dtype=whole.dtype
        )
        whole.load_state_dict(saved.state_dict())
