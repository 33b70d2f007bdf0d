"""Model families: what of a checkpoint is what. Adapters behind one protocol; one file per family."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from training.export.checkpoint import Checkpoint
from training.export.llava_onevision import LlavaOnevision


class ModelFamily(Protocol):
    """Reads one family's checkpoints, in whatever spelling of their keys.

    Attributes
    ----------
    name
        ``model_type`` of its configurations, and ``family`` of its packages' manifests.
    """

    name: str

    def config(self, checkpoint: Checkpoint) -> dict[str, Any]:
        """Whole configuration, nothing left to defaults, for ``config.json`` of the package."""

    def vision(self, checkpoint: Checkpoint, dtype: torch.dtype) -> nn.Module:
        """Module from tiles (N, 3, S, S) to image tokens (N, tokens, width), both fp32."""

    def language(self, checkpoint: Checkpoint) -> tuple[dict[str, Any], dict[str, str]]:
        """Configuration of the decoder alone, and the checkpoint's key for each of its weights, head included."""

    def embeddings(self, checkpoint: Checkpoint) -> Tensor:
        """Token table (vocabulary, width)."""

    def newline(self, checkpoint: Checkpoint) -> Tensor:
        """Vector (width,) that ends each row of image tokens."""


_FAMILIES: dict[str, ModelFamily] = {family.name: family for family in (LlavaOnevision(),)}
_DEEPSTACK = (
    "{} cannot be exported: the decoder's graph would lack the DeepStack inputs of the vision tower, run without an "
    'error and answer wrongly. Serve it by an OpenAI-compatible server and set model.backend = "openai"'
)
_REFUSED = {"qwen3_vl": _DEEPSTACK, "qwen3_vl_moe": _DEEPSTACK}


def family_of(checkpoint: Checkpoint) -> ModelFamily:
    """The adapter of a checkpoint.

    Raises
    ------
    ValueError
        For another family, saying why and what to do instead.
    """
    name = str(checkpoint.config.get("model_type", "unknown"))
    if name in _REFUSED:
        raise ValueError(_REFUSED[name].format(name))
    if name not in _FAMILIES:
        known = ", ".join(_FAMILIES)
        raise ValueError(f"the checkpoint holds a {name} model; only {known} can be exported")
    return _FAMILIES[name]
