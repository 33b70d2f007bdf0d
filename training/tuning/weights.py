"""Which weights learn, at which rate, and how a trained model becomes a checkpoint folder again."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import LlavaOnevisionForConditionalGeneration

from training.tuning.plan import TuningPlan, Vision

_LANGUAGE = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
_VISION = r".*vision_tower.*\.(q_proj|k_proj|v_proj|out_proj|fc1|fc2)"
_WEIGHT_FILES = (".safetensors", ".bin", ".safetensors.index.json", ".bin.index.json")
# Features are taken before this layer: it never has a gradient, and several processes would wait for one.
_AFTER_FEATURES = "vision_tower.post_layernorm"
_ADAPTED_WHOLE = ["multi_modal_projector"]


def load_whole(checkpoint: Path, plan: TuningPlan) -> LlavaOnevisionForConditionalGeneration:
    """Model of a checkpoint folder, still without adapters; what the plan never trains is frozen."""
    model = LlavaOnevisionForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32)
    for name, parameter in model.named_parameters():
        unused = _AFTER_FEATURES in name
        if unused or ("vision_tower" in name and plan.vision is not Vision.FULL):
            parameter.requires_grad_(False)
    return model


def adapters(plan: TuningPlan) -> LoraConfig | None:
    """Adapters at a scale of two, None where whole weights learn; the vision tower's have a rank of their own."""
    if not plan.lora_rank:
        return None
    vision = plan.vision is Vision.LORA
    return LoraConfig(
        r=plan.lora_rank,
        lora_alpha=2 * plan.lora_rank,
        target_modules=f"({_LANGUAGE}|{_VISION})" if vision else _LANGUAGE,
        rank_pattern={_VISION: plan.vision_lora_rank} if vision else {},
        alpha_pattern={_VISION: 2 * plan.vision_lora_rank} if vision else {},
        modules_to_save=_ADAPTED_WHOLE,
        task_type="CAUSAL_LM",
    )


def build_adamw(model: nn.Module, plan: TuningPlan) -> torch.optim.AdamW:
    """AdamW with the vision tower's weights at their own rate."""
    groups: dict[bool, list[nn.Parameter]] = {False: [], True: []}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups["vision_tower" in name].append(parameter)
    rates = {False: plan.learning_rate, True: plan.vision_learning_rate}
    told = [{"params": group, "lr": rates[vision]} for vision, group in groups.items() if group]
    return torch.optim.AdamW(told, betas=(0.9, 0.999), weight_decay=plan.weight_decay)


def rate_factor(step: int, steps: int, warmup_ratio: float) -> float:
    """Part of the peak rate at a step: linear rise, then a cosine to zero."""
    warmup = math.ceil(steps * warmup_ratio)
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def save_folder(plan: TuningPlan, state: dict[str, Any], checkpoint: Path, out: Path) -> None:
    """Write trained weights beside the source's tokenizer, processor and template files; whole or not at all.

    Adapters are merged into the weights, so the folder loads and exports like any other. `state` is the whole
    model's, gathered: the model that was trained may hold only a shard of it.
    """
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for file in checkpoint.iterdir():
        if file.is_file() and not file.name.endswith(_WEIGHT_FILES):
            shutil.copyfile(file, part / file.name)
    whole: Any = load_whole(checkpoint, plan)
    config = adapters(plan)
    model: Any = get_peft_model(whole, config) if config else whole
    model.load_state_dict(state)
    (model.merge_and_unload() if config else whole).save_pretrained(part)
    shutil.rmtree(out, ignore_errors=True)
    part.rename(out)
