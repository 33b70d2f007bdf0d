"""LLaVA-OneVision: SigLIP, two-layer projector, Qwen2. RadVLM's family (Deperrois et al., arXiv 2502.03333)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import LlavaOnevisionConfig, Qwen2Config, Qwen2ForCausalLM, SiglipVisionModel
from transformers.models.llava_onevision.modeling_llava_onevision import LlavaOnevisionMultiModalProjector

from training.export.checkpoint import Checkpoint

# transformers up to 4.51 writes "language_model.model.layers", "vision_tower.vision_model.encoder"; later ones may
# write "model.language_model.layers", "model.vision_tower.encoder" and a head of its own.
_SPELLINGS = (
    (re.compile(r"(?:model\.)?language_model\.lm_head\.(.+)|lm_head\.(.+)"), "lm_head."),
    (re.compile(r"(?:model\.)?language_model\.(?:model\.)?(.+)"), "language."),
    (re.compile(r"(?:model\.)?vision_tower\.(?:vision_model\.)?(.+)"), "vision."),
    (re.compile(r"(?:model\.)?multi_modal_projector\.(.+)"), "projector."),
    (re.compile(r"(?:model\.)?(image_newline)"), ""),
)
_EMBEDDINGS = "language.embed_tokens.weight"
_HEAD = "lm_head.weight"
_EMBEDDER = "vision.embeddings."


class LlavaOnevision:
    """Adapter of `LlavaOnevisionForConditionalGeneration` folders."""

    name = "llava_onevision"

    def config(self, checkpoint: Checkpoint) -> dict[str, Any]:
        """Whole configuration; refuses what would be served wrongly."""
        found = _config(checkpoint)
        vision, text = cast(Any, found.vision_config), cast(Any, found.text_config)
        if vision.model_type != "siglip_vision_model" or text.model_type != "qwen2":
            raise ValueError(
                f"the checkpoint joins {vision.model_type} and {text.model_type}; only siglip_vision_model and qwen2 "
                "are exported"
            )
        if found.vision_feature_select_strategy != "full":
            raise ValueError("the checkpoint drops a class token that its vision tower does not have")
        if re.fullmatch(r"anyres_max_\d+", str(found.vision_aspect_ratio)) is None:
            raise ValueError(
                f"image tokens packed by {found.vision_aspect_ratio} are not served; only anyres_max_N"
            )
        others = (text.hidden_size, text.intermediate_size)
        if text.vocab_size in others:
            # The model builder knows the head by its size.
            raise ValueError(
                "the vocabulary is as large as another layer: the model builder would mistake one for it"
            )
        whole: dict[str, Any] = found.to_dict()
        whole.pop("_name_or_path", None)
        return whole

    def vision(self, checkpoint: Checkpoint, dtype: torch.dtype) -> nn.Module:
        """SigLIP tower and projector with the checkpoint's weights."""
        config = _config(checkpoint)
        with torch.device("meta"):
            module = _Vision(config)
        keys = _keys(checkpoint)
        wanted = {name: keys.get(name, name) for name in module.state_dict()}
        _require(checkpoint, wanted)
        # The patch embedding is a convolution, which ONNX has no bf16 for before opset 22; it is a small part.
        first = torch.float32 if dtype is torch.bfloat16 else dtype
        state = {
            name: checkpoint.tensor(key).to(first if name.startswith(_EMBEDDER) else dtype)
            for name, key in wanted.items()
        }
        _check_shapes(module.state_dict(), state)
        module.load_state_dict(state, assign=True)
        embedder = cast(Any, module.vision.embeddings)
        embedder.position_ids = torch.arange(embedder.num_positions).expand((1, -1))
        return module.eval()

    def language(self, checkpoint: Checkpoint) -> tuple[dict[str, Any], dict[str, str]]:
        """Qwen2 with a head of its own, tied or not: the token table is outside the graph."""
        text = cast(Any, _config(checkpoint).text_config)
        config = Qwen2Config(**{**text.to_dict(), "tie_word_embeddings": False})
        config.architectures = ["Qwen2ForCausalLM"]
        keys = _keys(checkpoint)
        if _HEAD not in keys and _tied(checkpoint):
            keys[_HEAD] = keys.get(_EMBEDDINGS, _EMBEDDINGS)
        with torch.device("meta"):
            expected = Qwen2ForCausalLM(config).state_dict()
        wanted = {}
        for name in expected:
            ours = name if name == _HEAD else "language." + name.removeprefix("model.")
            wanted[name] = keys.get(ours, ours)
        _require(checkpoint, wanted)
        config.dtype = checkpoint.dtype(
            wanted["model.norm.weight"]
        )  # so that the builder loads without converting
        _check_shapes(expected, {name: checkpoint.shape(key) for name, key in wanted.items()})
        return config.to_dict(), wanted

    def embeddings(self, checkpoint: Checkpoint) -> Tensor:
        """Token table (vocabulary, width)."""
        return checkpoint.tensor(_keys(checkpoint)[_EMBEDDINGS])

    def newline(self, checkpoint: Checkpoint) -> Tensor:
        """Vector (width,) that ends each row of image tokens."""
        keys = _keys(checkpoint)
        _require(checkpoint, {"image_newline": keys.get("image_newline", "image_newline")})
        return checkpoint.tensor(keys["image_newline"])


class _Vision(nn.Module):
    """Tiles (N, 3, S, S) to image tokens (N, tokens, width); fp32 outside, the weights' own type inside."""

    def __init__(self, config: LlavaOnevisionConfig) -> None:
        super().__init__()
        tower = cast(Any, SiglipVisionModel(cast(Any, config.vision_config)))
        depth = len(tower.encoder.layers)
        chosen = config.vision_feature_layer
        layers = [chosen] if isinstance(chosen, int) else list(chosen)
        # States are counted as transformers does: 0 before the first layer, -1 after the last.
        self.states = [layer if layer >= 0 else depth + 1 + layer for layer in layers]
        if not all(0 <= state <= depth for state in self.states):
            raise ValueError(f"vision_feature_layer names a state the tower of {depth} layers does not have")
        # States BEFORE the tower's last norm: its last_hidden_state is after it, and wrong. Later layers are unused.
        tower.encoder.layers = tower.encoder.layers[: max(self.states)]
        self.vision = nn.Module()
        self.vision.embeddings = tower.embeddings
        self.vision.encoder = tower.encoder
        self.projector = cast(nn.Module, LlavaOnevisionMultiModalProjector(config))

    def forward(self, pixel_values: Tensor) -> Tensor:
        vision = cast(Any, self.vision)
        embedded = vision.embeddings(pixel_values.to(vision.embeddings.position_embedding.weight.dtype))
        states = [embedded.to(cast(Any, self.projector).linear_1.weight.dtype)]
        for layer in vision.encoder.layers:
            found = layer(states[-1], attention_mask=None)
            states.append(found[0] if isinstance(found, tuple) else found)
        chosen = torch.cat([states[state] for state in self.states], dim=-1)
        return cast(Tensor, self.projector(chosen)).float()


def _config(checkpoint: Checkpoint) -> LlavaOnevisionConfig:
    return LlavaOnevisionConfig.from_pretrained(checkpoint.folder)


def _keys(checkpoint: Checkpoint) -> dict[str, str]:
    """The checkpoint's key of each weight, by the name that is used here."""
    keys = {}
    for key in checkpoint.names:
        for pattern, prefix in _SPELLINGS:
            match = pattern.fullmatch(key)
            if match is not None:
                keys[prefix + next(part for part in match.groups() if part is not None)] = key
                break
    return keys


def _tied(checkpoint: Checkpoint) -> bool:
    config = _config(checkpoint)
    return bool(config.tie_word_embeddings or cast(Any, config.text_config).tie_word_embeddings)


def _require(checkpoint: Checkpoint, wanted: Mapping[str, str]) -> None:
    present = set(checkpoint.names)
    missing = [key for key in wanted.values() if key not in present]
    if missing:
        raise ValueError(f"the checkpoint lacks {len(missing)} weights, {missing[0]} among them")
    for key in wanted.values():
        checkpoint.dtype(key)  # refuses what is quantised already


def _check_shapes(expected: Mapping[str, Tensor], found: Mapping[str, Any]) -> None:
    for name, tensor in expected.items():
        shape = tuple(getattr(found[name], "shape", found[name]))
        if shape != tuple(tensor.shape):
            raise ValueError(f"the weight {name} has shape {shape}; config.json says {tuple(tensor.shape)}")
