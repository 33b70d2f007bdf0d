"""From a `LlavaOnevisionForConditionalGeneration` folder to the package `inference` serves."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any, cast

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn
from transformers import AutoConfig, LlavaOnevisionForConditionalGeneration, Qwen2Config, Qwen2ForCausalLM

from clinical import regions
from inference.labels import EXPECTED_LABELS
from inference.manifest import TASKS

_FAMILY = "llava_onevision"
_COPIED = ("config.json", "preprocessor_config.json", "tokenizer.json", "generation_config.json")
PRECISIONS = ("fp32", "int8", "int4")
_CHAT_TEMPLATES = ("chat_template.jinja", "chat_template.json")


class _Vision(nn.Module):
    """SigLIP tower and projector: tiles (N, 3, S, S) to image tokens (N, tokens, width)."""

    def __init__(self, model: LlavaOnevisionForConditionalGeneration) -> None:
        super().__init__()
        self.tower = model.model.vision_tower
        self.projector = model.model.multi_modal_projector
        self.layer = model.config.vision_feature_layer

    def forward(self, pixel_values: Tensor) -> Tensor:
        # The hidden state BEFORE the tower's last norm: last_hidden_state is after it, and wrong.
        states = self.tower(pixel_values, output_hidden_states=True, return_dict=True).hidden_states
        return cast(Tensor, self.projector(states[self.layer]))


def export_onnx(
    checkpoint: str | Path,
    out: str | Path,
    *,
    description: Mapping[str, Any] | None = None,
    precision: str = "fp32",
) -> Path:
    """Export a checkpoint for the CPU; return the package folder.

    The package appears whole or not at all: it is built beside `out` and renamed at the end.

    Parameters
    ----------
    checkpoint
        Folder written by transformers, with its processor and tokenizer files.
    description
        What the weights do not say of themselves: ``name``, ``version``, ``labels``, ``statement`` and the other
        keys of `inference.manifest.Manifest` that a package's author decides. Without it the package says of itself
        that nothing was measured.

    precision
        Of the decoder's weights, one of `PRECISIONS`. The vision tower and the embeddings stay fp32: a medical
        image loses more by fewer bits than the text that is made of it.

    Raises
    ------
    ValueError
        If the checkpoint is of another model family, or the precision is none of ours.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"no precision {precision}; there are {', '.join(PRECISIONS)}")
    checkpoint, out = Path(checkpoint), Path(out)
    config = AutoConfig.from_pretrained(checkpoint)
    if config.model_type != _FAMILY:
        raise ValueError(_refusal(config.model_type))
    model = LlavaOnevisionForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32).eval()
    out.parent.mkdir(parents=True, exist_ok=True)
    building = Path(mkdtemp(dir=out.parent, prefix=f".{out.name}-"))
    try:
        _export_vision(model, building)
        _export_decoder(model, checkpoint, building, precision)
        _export_tables(model, building)
        _copy_texts(checkpoint, building)
        _write_manifest(building, config, description or undescribed(checkpoint), precision)
        building.chmod(0o755)
        shutil.rmtree(out, ignore_errors=True)
        building.rename(out)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return out


def _refusal(family: str) -> str:
    if family.startswith("qwen3_vl"):
        return (
            f"{family} cannot be exported: the decoder's graph would lack the DeepStack inputs of the vision tower, "
            "run without an error and answer wrongly"
        )
    return f"the checkpoint holds a {family} model; only {_FAMILY} can be exported"


def undescribed(checkpoint: Path) -> dict[str, Any]:
    """Description of a checkpoint nobody described: RadVLM's labels, every task on, and a warning on every face."""
    return {
        "name": checkpoint.resolve().name,
        "version": "undescribed",
        "labels": list(EXPECTED_LABELS),
        "classification_prefix": "The Chest X-ray shows ",
        "regions": list(regions()),
        "tasks": {task: {"enabled": True} for task in TASKS},
        "statement": "MODEL WITHOUT MEASURED QUALITY - NOT FOR CLINICAL USE.",
        "source": "a checkpoint exported without a description",
    }


def _export_vision(model: LlavaOnevisionForConditionalGeneration, folder: Path) -> None:
    side = cast(Any, model.config.vision_config).image_size
    tiles = torch.export.Dim("tiles", min=1, max=64)
    torch.onnx.export(
        _Vision(model).eval(),
        (torch.randn(3, 3, side, side),),
        str(folder / "vision.onnx"),
        dynamo=True,
        external_data=False,
        dynamic_shapes=({0: tiles},),
        input_names=["pixel_values"],
        output_names=["image_features"],
        verbose=False,
    )
    _forget_where_it_was_made(folder / "vision.onnx")


def _forget_where_it_was_made(path: Path) -> None:
    """Drop the exporter's notes: stack traces with the paths of the machine that exported, 10 % of a small graph."""
    import onnx

    model = onnx.load(path)
    noted = [
        model.graph,
        *model.graph.node,
        *model.graph.input,
        *model.graph.output,
        *model.graph.initializer,
    ]
    for part in (*noted, *model.graph.value_info, *model.functions, model):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for function in model.functions:
        for node in function.node:
            node.ClearField("metadata_props")
            node.ClearField("doc_string")
    onnx.save_model(model, path)


def _export_decoder(
    model: LlavaOnevisionForConditionalGeneration, checkpoint: Path, folder: Path, precision: str
) -> None:
    """GroupQueryAttention graph by onnxruntime-genai's model builder: shared buffers, logits of the last row only."""
    text = cast(Any, model.config.text_config)
    with TemporaryDirectory() as scratch:
        language = Path(scratch) / "language"
        causal = Qwen2ForCausalLM(Qwen2Config(**text.to_dict()))
        causal.model.load_state_dict(model.model.language_model.state_dict())
        causal.lm_head.load_state_dict(model.lm_head.state_dict())
        causal.save_pretrained(language)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(checkpoint / name, language / name)
        built = Path(scratch) / "built"
        command = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", language, "-o", built]
        command += ["-p", precision, "-e", "cpu", "-c", Path(scratch) / "cache"]
        command += ["--extra_options", "exclude_embeds=true", "prune_lm_head=true"]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"the decoder could not be built: {done.stderr.strip().splitlines()[-1:]}")
        _inline_weights(built / "model.onnx", folder / "decoder.onnx")


def _inline_weights(source: Path, target: Path) -> None:
    import onnx

    onnx.save_model(onnx.load(source, load_external_data=True), target)


def _export_tables(model: LlavaOnevisionForConditionalGeneration, folder: Path) -> None:
    embeddings = cast(Any, model.get_input_embeddings()).weight.detach().numpy()
    np.save(folder / "embeddings.npy", embeddings)
    np.save(folder / "image_newline.npy", model.model.image_newline.detach().numpy())


def _copy_texts(checkpoint: Path, folder: Path) -> None:
    for name in _COPIED + _CHAT_TEMPLATES:
        if (checkpoint / name).exists():
            shutil.copy(checkpoint / name, folder / name)


def _write_manifest(folder: Path, config: Any, description: Mapping[str, Any], precision: str) -> None:
    files = {path.name: _sha256(path) for path in sorted(folder.iterdir())}
    manifest = {
        **description,
        "family": config.model_type,
        "precision": precision,
        "exporter": f"torch {torch.__version__.split('+')[0]}, onnxruntime {onnxruntime.__version__}",
        "files": files,
    }
    (folder / "manifest.json").write_text(
        json.dumps(manifest, indent=2, sort_keys=True) + "\n", encoding="utf-8"
    )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
