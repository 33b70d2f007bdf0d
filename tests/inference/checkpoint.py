"""A random checkpoint of RadVLM's architecture: several pinpoints, and weights that do not answer in one token."""

from __future__ import annotations

import json
from pathlib import Path

TILE_PX = 32
PINPOINTS = [[TILE_PX * rows, TILE_PX * columns] for rows in range(1, 5) for columns in range(1, 5)]


def write_random_checkpoint(folder: Path) -> Path:
    """Checkpoint folder as transformers writes it, with its processor and tokenizer."""
    import torch

    from inference import prompts
    from training.architecture import build_model
    from training.processor import save_processor
    from training.recipe import ModelSize
    from training.tokenizer import train_tokenizer
    from training.tokens import SPECIALS, special_ids

    size = ModelSize(
        image_size_px=TILE_PX,
        patch_size_px=8,
        vision_layers=2,
        vision_width=64,
        vision_heads=2,
        vision_mlp=96,
        language_layers=2,
        language_width=96,
        language_heads=3,
        language_kv_heads=1,
        language_mlp=128,
        vocabulary=400,
    )
    texts = [prompts.REPORT, prompts.CLASSIFICATION, prompts.DETECTION, prompts.grounding("right lung")] * 3
    tokenizer = train_tokenizer(texts, size.vocabulary)
    torch.manual_seed(7)
    model = build_model(size, special_ids(len(tokenizer) - len(SPECIALS)))
    model.config.image_grid_pinpoints = PINPOINTS
    # The usual initialisation is so small that every answer is one token repeated, and equal answers prove nothing.
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1:
                weight.normal_(std=0.1 if "embed_tokens" in name else 0.2)
    model.save_pretrained(folder)
    save_processor(tokenizer, size, folder)
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "image_grid_pinpoints": PINPOINTS}))
    return folder
