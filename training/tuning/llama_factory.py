"""The same run as configuration for LLaMA-Factory, for sites that train there; configuration only, no code of theirs.

Field names: LLaMA-Factory 0.9 (`dataset_info.json` with ShareGPT formatting, `llamafactory-cli train FILE`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from training.instructions.row import ROWS_FILE
from training.tuning.plan import TuningPlan, Vision

DATASET = "radvlm"


def write_llama_factory(
    checkpoint: Path, data: Path, image_root: Path, out: Path, plan: TuningPlan
) -> tuple[Path, Path]:
    """Write `dataset_info.json` and `train.yaml` into `out`; returns both.

    Its loss covers the answers only; it knows one learning rate, so the vision tower's own is not carried over.
    """
    out.mkdir(parents=True, exist_ok=True)
    info, training = out / "dataset_info.json", out / "train.yaml"
    info.write_text(json.dumps({DATASET: _dataset(data)}, indent=2) + "\n", encoding="utf-8")
    settings = _settings(checkpoint, image_root, out, plan)
    training.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    return info, training


def _dataset(data: Path) -> dict[str, Any]:
    return {
        "file_name": str((data / ROWS_FILE).absolute()),
        "formatting": "sharegpt",
        "columns": {"messages": "conversations", "images": "image"},
        "tags": {
            "role_tag": "from", "content_tag": "value", "user_tag": "human", "assistant_tag": "gpt",
        },
    }  # fmt: skip


def _settings(checkpoint: Path, image_root: Path, out: Path, plan: TuningPlan) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "model_name_or_path": str(checkpoint.absolute()),
        "template": "llava_next_qwen",
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "lora" if plan.lora_rank else "full",
        "freeze_vision_tower": plan.vision is Vision.FROZEN,
        "freeze_multi_modal_projector": False,
        "dataset": DATASET,
        "dataset_dir": str(out.absolute()),
        "image_dir": str(image_root.absolute()),
        "cutoff_len": plan.max_tokens,
        "per_device_train_batch_size": plan.batch_images,
        "gradient_accumulation_steps": plan.accumulate,
        "learning_rate": plan.learning_rate,
        "num_train_epochs": plan.epochs,
        "lr_scheduler_type": "cosine",
        "warmup_ratio": plan.warmup_ratio,
        "weight_decay": plan.weight_decay,
        "max_grad_norm": plan.clip_norm,
        "bf16": plan.bf16,
        "seed": plan.seed,
        "save_steps": plan.save_every_steps,
        "output_dir": str((out / "model").absolute()),
    }
    return settings | ({"lora_rank": plan.lora_rank, "lora_target": "all"} if plan.lora_rank else {})
