"""A whole model package with random weights, written without torch, transformers or the package `onnx`.

The product's own engine serves it: the tokenizer is that of the embedded model, whose few words are a part of the large
vocabulary, and the processor cuts tiles as RadVLM's does.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inference.manifest import EMBEDDED, Manifest, ModelPackage, open_package
from tests.bench.random_graph import Shape, write_decoder
from tests.bench.random_vision import VisionShape, write_vision

_DONE = "whole"
_SIDES = range(1, 7)
_MOST_POSITIONS = 32768
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class PackageShape:
    """Dimensions of a model."""

    decoder: Shape
    vision: VisionShape


SHAPES = {
    # Qwen2-7B and SigLIP so400m-patch14-384 without its last layer: arXiv 2502.03333 and its configuration.
    "radvlm-7b": PackageShape(
        Shape(layers=28, width=3584, heads=28, kv_heads=4, mlp=18944, vocabulary=152128, precision="fp16"),
        VisionShape(side_px=384, patch_px=14, layers=26, width=1152, heads=16, mlp=4304),
    ),
    "small": PackageShape(
        Shape(layers=4, width=256, heads=4, kv_heads=2, mlp=512, vocabulary=2000, precision="fp32"),
        VisionShape(side_px=56, patch_px=14, layers=2, width=64, heads=2, mlp=128),
    ),
}


def random_package(shape: PackageShape, folder: Path) -> ModelPackage:
    """The package in `folder`; written first where it is not there whole."""
    if not (folder / _DONE).exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _write_texts(shape, folder)
        _write_tables(shape, folder)
        write_vision(shape.vision, shape.decoder.width, shape.decoder.storage, folder / "vision.onnx")
        write_decoder(shape.decoder, folder / "decoder.onnx")
        (folder / _DONE).touch()
    described = open_package(EMBEDDED).manifest.model_dump()
    # Nobody but this benchmark opens it: its gigabytes are not hashed.
    described |= {
        "name": "random",
        "precision": shape.decoder.precision,
        "operating_points": {},
        "files": {},
    }
    return ModelPackage(folder, Manifest.model_validate(described))


def _write_texts(shape: PackageShape, folder: Path) -> None:
    source = open_package(EMBEDDED).folder
    for name in ("tokenizer.json", "generation_config.json", "chat_template.jinja"):
        shutil.copyfile(source / name, folder / name)
    decoder, vision = shape.decoder, shape.vision
    config = json.loads((source / "config.json").read_text())
    config["vision_aspect_ratio"] = "anyres_max_9"
    config["text_config"] |= {
        "hidden_size": decoder.width,
        "intermediate_size": decoder.mlp,
        "num_attention_heads": decoder.heads,
        "num_hidden_layers": decoder.layers,
        "num_key_value_heads": decoder.kv_heads,
        "layer_types": ["full_attention"] * decoder.layers,
        "max_position_embeddings": _MOST_POSITIONS,
        "rope_parameters": {"rope_theta": 1e6, "rope_type": "default"},
        "vocab_size": decoder.vocabulary,
        "tie_word_embeddings": False,
    }
    config["tie_word_embeddings"] = False
    config["vision_config"] |= {
        "image_size": vision.side_px,
        "patch_size": vision.patch_px,
        "hidden_size": vision.width,
        "intermediate_size": vision.mlp,
        "num_attention_heads": vision.heads,
        "num_hidden_layers": vision.layers,
    }
    pinpoints = [[vision.side_px * rows, vision.side_px * columns] for rows in _SIDES for columns in _SIDES]
    config["image_grid_pinpoints"] = pinpoints
    (folder / "config.json").write_text(json.dumps(config))
    processor = json.loads((source / "preprocessor_config.json").read_text())
    processor["image_grid_pinpoints"] = pinpoints
    processor["size"] = {"height": vision.side_px, "width": vision.side_px}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))


def _write_tables(shape: PackageShape, folder: Path) -> None:
    decoder = shape.decoder
    draws = np.random.default_rng(1)
    table = np.lib.format.open_memmap(
        folder / "embeddings.npy",
        mode="w+",
        dtype=decoder.storage,
        shape=(decoder.vocabulary, decoder.width),
    )
    for at in range(0, decoder.vocabulary, _ROWS_AT_ONCE):
        rows = table[at : at + _ROWS_AT_ONCE]
        rows[:] = draws.standard_normal(rows.shape, dtype=np.float32)
    table.flush()
    np.save(folder / "image_newline.npy", draws.standard_normal(decoder.width).astype(decoder.storage))
