"""One random checkpoint in the forms that releases of transformers have written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

_NEW = (
    ("language_model.lm_head.", "lm_head."),
    ("language_model.model.", "model.language_model."),
    ("vision_tower.vision_model.", "model.vision_tower."),
    ("multi_modal_projector.", "model.multi_modal_projector."),
    ("image_newline", "model.image_newline"),
)
ODD_PINPOINTS = [[32, 96], [64, 64], [160, 32]]


def write_new_form(source: Path, folder: Path) -> Path:
    """The checkpoint in new key spelling, several shards, an untied head, fp16, one joined processor file.

    Odd pinpoints, the chat template inside JSON and a configuration that leaves out what is at its default.
    """
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    folder.mkdir()
    with safe_open(source / "model.safetensors", framework="pt") as file:
        tensors = {_new(name): file.get_tensor(name).half() for name in file.keys()}  # noqa: SIM118
    table = tensors["model.language_model.embed_tokens.weight"]
    tensors["lm_head.weight"] = table + 0.05 * torch.randn(
        table.shape, generator=torch.Generator().manual_seed(3)
    )
    tensors["lm_head.weight"] = tensors["lm_head.weight"].half()
    names = sorted(tensors)
    placed = {}
    for number in range(3):
        file_name = f"model-{number + 1:05d}-of-00003.safetensors"
        part = {name: tensors[name].contiguous() for name in names[number::3]}
        save_file(part, folder / file_name, metadata={"format": "pt"})
        placed |= dict.fromkeys(part, file_name)
    _write(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": placed})
    _write_config(source, folder)
    processor = _read(source / "preprocessor_config.json") | {"image_grid_pinpoints": ODD_PINPOINTS}
    _write(folder / "processor_config.json", {"image_processor": processor})
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        shutil.copy(source / name, folder / name)
    template = (source / "chat_template.jinja").read_text(encoding="utf-8")
    _write(folder / "chat_template.json", {"chat_template": template})
    (folder / "LICENSE").write_text("may be looked at\n", encoding="utf-8")
    return folder


def _write_config(source: Path, folder: Path) -> None:
    config = _read(source / "config.json")
    config |= {"image_grid_pinpoints": ODD_PINPOINTS, "tie_word_embeddings": False, "dtype": "float16"}
    config["text_config"] |= {"tie_word_embeddings": False, "dtype": "float16"}
    for part, keys in (("text_config", ("hidden_act", "rms_norm_eps")), ("vision_config", ("num_channels",))):
        for key in keys:
            config[part].pop(key, None)
    _write(folder / "config.json", config)


def _new(name: str) -> str:
    for old, new in _NEW:
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")
