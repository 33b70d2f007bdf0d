"""What one fine-tuning run does, read from TOML; the defaults are RadVLM's published hyper-parameters."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any


class LossMode(StrEnum):
    """Which tokens carry loss.

    ASSISTANT_ONLY: the answers and the token that ends them, in the form the model is asked in (no system turn).
    RADVLM_COMPAT: RadVLM's training form: a system turn, whole assistant turns with their header, and every
    turn-marking token and line feed anywhere (`preprocess_qwen` of the LLaVA-NeXT code).
    """

    ASSISTANT_ONLY = "assistant_only"
    RADVLM_COMPAT = "radvlm_compat"


class Vision(StrEnum):
    """What happens to the vision tower: its weights are trained, adapted, or left."""

    FULL = "full"
    LORA = "lora"
    FROZEN = "frozen"


@dataclass(frozen=True, slots=True)
class TuningPlan:
    """One run.

    Parameters
    ----------
    learning_rate, vision_learning_rate
        Peak rates of everything else and of the vision tower; both rise over `warmup_ratio` of the steps and fall
        by a cosine to zero.
    batch_images, accumulate
        Images per process and forward pass, and passes per step; RadVLM's global batch was 256.
    lora_rank
        0 trains whole weights; else adapters of that rank on every linear layer of the language model, with the
        projector trained whole.
    max_tokens
        Samples longer than this, image tokens included, are left out and counted, never cut: a cut sample would lose
        image tokens.
    """

    seed: int = 0
    epochs: int = 1
    learning_rate: float = 1e-5
    vision_learning_rate: float = 2e-6
    warmup_ratio: float = 0.03
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    batch_images: int = 1
    accumulate: int = 2
    loss_mode: LossMode = LossMode.ASSISTANT_ONLY
    lora_rank: int = 0
    vision: Vision = Vision.FULL
    vision_lora_rank: int = 16
    bf16: bool = True
    gradient_checkpointing: bool = True
    max_tokens: int = 32_768
    save_every_steps: int = 200
    track: tuple[str, ...] = ()


def read_plan(path: Path) -> TuningPlan:
    """Plan of a TOML file; raises TypeError for an unknown key and ValueError for an unknown choice."""
    return plan_from(tomllib.loads(path.read_text(encoding="utf-8")))


def plan_from(content: Mapping[str, Any]) -> TuningPlan:
    """Plan of TOML values; raises as `read_plan` does."""
    choices = {"loss_mode": LossMode, "vision": Vision, "track": tuple}
    return TuningPlan(**{key: choices.get(key, _same)(value) for key, value in content.items()})


def _same(value: Any) -> Any:
    return value
