"""The embedded model: RadVLM's own classes (LLaVA-OneVision: SigLIP, MLP projector, Qwen2) made small."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import LlavaOnevisionConfig, LlavaOnevisionForConditionalGeneration
from transformers.models.qwen2 import Qwen2Config
from transformers.models.siglip import SiglipVisionConfig

from training.recipe import ModelSize
from training.tokens import SPECIALS, special_ids


def build_model(size: ModelSize, ids: dict[str, int] | None = None) -> LlavaOnevisionForConditionalGeneration:
    """Untrained model of the given size; `ids` are the tokenizer's specials (any, before it is known)."""
    return LlavaOnevisionForConditionalGeneration(
        build_config(size, ids or special_ids(size.vocabulary - len(SPECIALS)))
    )


def build_config(size: ModelSize, ids: dict[str, int]) -> LlavaOnevisionConfig:
    """Configuration with one 1x1 pinpoint."""
    vision = SiglipVisionConfig(
        hidden_size=size.vision_width,
        intermediate_size=size.vision_mlp,
        num_hidden_layers=size.vision_layers,
        num_attention_heads=size.vision_heads,
        image_size=size.image_size_px,
        patch_size=size.patch_size_px,
        vision_use_head=False,
    )
    text = Qwen2Config(
        vocab_size=size.vocabulary,
        hidden_size=size.language_width,
        intermediate_size=size.language_mlp,
        num_hidden_layers=size.language_layers,
        num_attention_heads=size.language_heads,
        num_key_value_heads=size.language_kv_heads,
        max_position_embeddings=4096,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        tie_word_embeddings=True,
        bos_token_id=ids[SPECIALS[0]],
        eos_token_id=ids["<|im_end|>"],
        pad_token_id=ids[SPECIALS[0]],
    )
    return LlavaOnevisionConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=ids["<image>"],
        video_token_index=ids["<video>"],
        image_grid_pinpoints=[[size.image_size_px, size.image_size_px]],
        vision_aspect_ratio="anyres_max_9",
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        tie_word_embeddings=True,
    )


def tile_features(model: LlavaOnevisionForConditionalGeneration, pixels: Tensor) -> Tensor:
    """Projected tokens (B, tokens, width) of normalised tiles (B, 3, S, S); hidden state before the last norm."""
    states = model.model.vision_tower(pixels, output_hidden_states=True, return_dict=True).hidden_states
    features: Tensor = model.model.multi_modal_projector(states[-1])
    return features


def packed_prefix(model: LlavaOnevisionForConditionalGeneration, features: Tensor) -> Tensor:
    """Image prefix of one square tile as transformers packs it: base tile, then the tile again with newlines.

    (B, side * side, width) -> (B, side * side + side * (side + 1), width).
    """
    batch, tokens, width = features.shape
    side = int(tokens**0.5)
    grid = features.view(batch, side, side, width)
    newline = model.model.image_newline.view(1, 1, 1, width).expand(batch, side, 1, width)
    rows = torch.cat([grid, newline.to(grid.dtype)], dim=2).flatten(1, 2)
    return torch.cat([features, rows], dim=1)


def normalised(images: Tensor) -> Tensor:
    """Gray images (B, S, S), 0..1 -> SigLIP's input (B, 3, S, S), mean and standard deviation 0.5."""
    return ((images - 0.5) / 0.5).unsqueeze(1).expand(-1, 3, -1, -1)
