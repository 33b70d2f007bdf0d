"""What of a package is no graph: the token table, the newline, processor and tokenizer files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoTokenizer

from training.export.checkpoint import Checkpoint

_ROWS = 4096
_IMAGE_PROCESSOR = "preprocessor_config.json"
_JOINED_PROCESSOR = "processor_config.json"
_TEMPLATE, _OLD_TEMPLATE = "chat_template.jinja", "chat_template.json"
_LICENCES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE")


def write_table(tensor: Tensor, path: Path) -> None:
    """Write a table (rows, width) row block by row block, without loss: fp16 as fp16, everything else as fp32."""
    half = tensor.dtype == torch.float16
    storage = np.dtype(np.float16 if half else np.float32)
    table = np.lib.format.open_memmap(path, mode="w+", dtype=storage, shape=tuple(tensor.shape))
    for start in range(0, len(tensor), _ROWS):
        block = tensor[start : start + _ROWS]
        table[start : start + _ROWS] = (block if half else block.float()).numpy()
    table.flush()


def write_texts(checkpoint: Checkpoint, config: dict[str, Any], folder: Path) -> None:
    """Write configuration, image processor, tokenizer and chat template, each in its newest form.

    Raises
    ------
    ValueError
        Where the checkpoint lacks its image processor or its tokenizer.
    """
    (folder / "config.json").write_text(_text(config), encoding="utf-8")
    processor = _image_processor(checkpoint.folder)
    processor.setdefault("image_grid_pinpoints", config["image_grid_pinpoints"])
    (folder / _IMAGE_PROCESSOR).write_text(_text(processor), encoding="utf-8")
    _write_tokenizer(checkpoint.folder, folder)
    template = chat_template(checkpoint.folder)
    if template is not None:
        (folder / _TEMPLATE).write_text(template, encoding="utf-8")
    for name in ("generation_config.json", *_LICENCES):
        if (checkpoint.folder / name).is_file():
            shutil.copy(checkpoint.folder / name, folder / name)


def chat_template(folder: Path) -> str | None:
    """Chat template of a checkpoint: a file of its own, inside one as older releases wrote it, or the tokenizer's."""
    if (folder / _TEMPLATE).is_file():
        return (folder / _TEMPLATE).read_text(encoding="utf-8")
    for name in (_OLD_TEMPLATE, "tokenizer_config.json"):
        if (folder / name).is_file():
            found = json.loads((folder / name).read_text(encoding="utf-8")).get("chat_template")
            if isinstance(found, str):
                return found
    return None


def licence_note(folder: Path) -> str:
    """What is known of the licence of a checkpoint's weights."""
    kept = [name for name in _LICENCES if (folder / name).is_file()]
    if kept:
        return f"the weights' own, see {kept[0]} in the package"
    return "not stated by the checkpoint; the licence of its weights applies to this package too"


def _image_processor(folder: Path) -> dict[str, Any]:
    """Of its own file, or of the file newer releases put every processor into."""
    if (folder / _IMAGE_PROCESSOR).is_file():
        found = json.loads((folder / _IMAGE_PROCESSOR).read_text(encoding="utf-8"))
    elif (folder / _JOINED_PROCESSOR).is_file():
        found = json.loads((folder / _JOINED_PROCESSOR).read_text(encoding="utf-8")).get("image_processor")
    else:
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"{folder} holds no image processor ({_IMAGE_PROCESSOR} or {_JOINED_PROCESSOR})")
    return found


def _write_tokenizer(source: Path, folder: Path) -> None:
    """``tokenizer.json``; checkpoints that only have the older vocabulary files are converted."""
    if (source / "tokenizer.json").is_file():
        shutil.copy(source / "tokenizer.json", folder / "tokenizer.json")
        return
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True)
        tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    except (OSError, ValueError, AttributeError, TypeError, KeyError) as error:
        words = str(error).splitlines()[0]
        raise ValueError(f"{source} holds no tokenizer.json and none can be made of it: {words}") from None


def _text(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2, sort_keys=True, default=str) + "\n"
