"""The vision tower and projector as an ONNX graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

MOST_TILES = 64


def export_vision(module: nn.Module, side_px: int, path: Path) -> None:
    """Write `module` (see `training.export.families.ModelFamily.vision`) to `path`, weights beside it.

    torch's own exporter: on one thread, hand-fused attention, bias-GELU and SkipLayerNorm gained at most 8 %,
    which was within the noise.
    """
    tiles = torch.export.Dim("tiles", min=1, max=MOST_TILES)
    torch.onnx.export(
        module,
        # Two tiles at least, as a size of 1 would be taken for a constant.
        (torch.zeros(3, 3, side_px, side_px),),
        str(path),
        dynamo=True,
        external_data=True,
        dynamic_shapes=({0: tiles},),
        input_names=["pixel_values"],
        output_names=["image_features"],
        verbose=False,
    )
    _forget_where_it_was_made(path)


def _forget_where_it_was_made(path: Path) -> None:
    """Drop the exporter's notes: stack traces with the paths of the machine that exported, 10 % of a small graph."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    graph = model.graph
    noted: list[Any] = [graph, *graph.node, *graph.input, *graph.output, *graph.initializer]
    for part in (*noted, *graph.value_info, *model.functions, model):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for function in model.functions:
        for node in function.node:
            node.ClearField("metadata_props")
            node.ClearField("doc_string")
    onnx.save_model(model, path)
