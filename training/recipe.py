"""A fine-tuning recipe: the model's size and the two stages of training, read from TOML."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class ModelSize:
    """Dimensions of the LLaVA-OneVision model; widths must be multiples of their heads (language: of 8 x heads)."""

    image_size_px: int = 160
    patch_size_px: int = 16
    vision_layers: int = 4
    vision_width: int = 128
    vision_heads: int = 4
    vision_mlp: int = 512
    language_layers: int = 3
    language_width: int = 192
    language_heads: int = 6
    language_kv_heads: int = 2
    language_mlp: int = 512
    vocabulary: int = 640

    @property
    def tile_tokens(self) -> int:
        """Tokens of one tile."""
        return (self.image_size_px // self.patch_size_px) ** 2


@dataclass(frozen=True, slots=True)
class DenseStage:
    """Stage A. Ends after `minutes` of wall time or, where given, after `steps`.

    The learning rate falls by a cosine to a tenth over them.
    """

    minutes: float = 10.0
    steps: int = 0
    batch_images: int = 32
    learning_rate: float = 1.2e-3


@dataclass(frozen=True, slots=True)
class InstructionStage:
    """Stage B, as long as `minutes` or `steps` say.

    `vision_factor` scales the vision tower's learning rate, `dense_weight` the dense loss kept.
    """

    minutes: float = 42.0
    steps: int = 0
    batch_images: int = 16
    learning_rate: float = 1.5e-3
    vision_factor: float = 0.4
    dense_weight: float = 0.3


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything `raddraft train finetune` needs besides the data."""

    seed: int = 1
    processes: int = 1
    model: ModelSize = ModelSize()
    dense: DenseStage = DenseStage()
    instruction: InstructionStage = InstructionStage()


def read_recipe(path: Path) -> Recipe:
    """Recipe from a TOML file; an unknown key raises TypeError."""
    content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    return Recipe(
        model=ModelSize(**content.pop("model", {})),
        dense=DenseStage(**content.pop("dense", {})),
        instruction=InstructionStage(**content.pop("instruction", {})),
        **content,
    )
