"""A checkpoint small enough to train in seconds, and eight images of two kinds, dark and bright."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

QUESTION = "What is there?"


def write_micro_checkpoint(root: Path, answers: Sequence[str]) -> Path:
    """Random weights in `root/checkpoint`, whose tokenizer knows the answers; images `root/0.png` to `7.png`."""
    import torch
    from transformers import PreTrainedTokenizerFast

    from training.architecture import build_model
    from training.instruction_stage import save_checkpoint
    from training.recipe import ModelSize, Recipe
    from training.tokenizer import train_tokenizer
    from training.tokens import SPECIALS

    size = ModelSize(
        image_size_px=32, patch_size_px=8, vision_layers=1, vision_width=32, vision_heads=2, vision_mlp=64,
        language_layers=1, language_width=32, language_heads=2, language_kv_heads=1, language_mlp=64,
    )  # fmt: skip
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tokenizer = train_tokenizer(["user\n", "assistant\n", QUESTION, *answers] * 20, size.vocabulary)
    tokenizer.save_pretrained(root / "tokenizer")
    fast = PreTrainedTokenizerFast.from_pretrained(root / "tokenizer")
    model = build_model(size, {token: fast.get_vocab()[token] for token in SPECIALS})
    save_checkpoint(model, fast, Recipe(model=size), root / "checkpoint")
    for number in range(8):
        grey = np.full((40, 30 + 4 * number), 40 + 160 * (number % 2), np.uint8)
        Image.fromarray(grey).save(root / f"{number}.png")
    return root
