"""A SigLIP tower with LLaVA-OneVision's projector and random weights, in the operators torch's exporter writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.bench.onnx_bytes import FLOAT, value
from tests.bench.random_weights import RandomGraph

_EPSILON = 1e-6
_OPSET = 20


@dataclass(frozen=True, slots=True)
class VisionShape:
    """Dimensions of a tower; a tile of `side_px` becomes ``(side_px // patch_px) ** 2`` tokens."""

    side_px: int
    patch_px: int
    layers: int
    width: int
    heads: int
    mlp: int

    @property
    def tokens(self) -> int:
        """Of one tile."""
        return (self.side_px // self.patch_px) ** 2

    def tile_operations(self, text_width: int) -> int:
        """Multiplications and additions of one tile."""
        attention = 4 * self.width**2 + 2 * self.tokens * self.width
        layers = self.layers * (attention + 2 * self.width * self.mlp)
        projector = self.width * text_width + text_width**2
        return 2 * self.tokens * (layers + projector + 3 * self.patch_px**2 * self.width)


def write_vision(shape: VisionShape, text_width: int, storage: np.dtype, path: Path) -> None:  # type: ignore[type-arg]
    """Write the graph to `path` and its weights beside it; pixels and features are fp32, the rest `storage`."""
    with RandomGraph(path, storage) as graph:
        pixels = graph.node("Cast", ["pixel_values"], ["pixels"], to=graph.element)
        kernel = (shape.width, 3, shape.patch_px, shape.patch_px)
        weight = graph.random("patches.weight", kernel, 3 * shape.patch_px**2)
        sides = [shape.patch_px, shape.patch_px]
        patches = graph.node("Conv", [pixels, weight], ["patches"], strides=sides, kernel_shape=sides)
        flat = graph.constant("flat", [0, shape.width, -1])
        tokens = graph.node("Reshape", [patches, flat], ["flattened"])
        tokens = graph.node("Transpose", [tokens], ["tokens"], perm=[0, 2, 1])
        places = graph.random("places", (1, shape.tokens, shape.width), shape.width)
        x = graph.node("Add", [tokens, places], ["embedded"])
        graph.constant("split", [0, 0, shape.heads, shape.width // shape.heads])
        graph.constant("joined", [0, 0, shape.width])
        graph.values("scale", np.array((shape.width // shape.heads) ** -0.25))
        for index in range(shape.layers):
            x = _layer(graph, shape, f"layers.{index}", x)
        x = _affine(graph, "projector.1", x, shape.width, text_width)
        x = graph.node("Gelu", [x], ["projector.gelu"])
        x = _affine(graph, "projector.2", x, text_width, text_width)
        graph.node("Cast", [x], ["image_features"], to=FLOAT)
        inputs = [value("pixel_values", FLOAT, ["tiles", 3, shape.side_px, shape.side_px])]
        outputs = [value("image_features", FLOAT, ["tiles", shape.tokens, text_width])]
        graph.save(inputs, outputs, _OPSET)


def _layer(graph: RandomGraph, shape: VisionShape, at: str, x: str) -> str:
    normed = _normed(graph, f"{at}.norm1", x, shape.width)
    q = _heads(graph, shape, f"{at}.q", normed, [0, 2, 1, 3])
    k = _heads(graph, shape, f"{at}.k", normed, [0, 2, 3, 1])
    v = _heads(graph, shape, f"{at}.v", normed, [0, 2, 1, 3])
    q, k = (graph.node("Mul", [part, "scale"], [f"{part}.scaled"]) for part in (q, k))
    scores = graph.node("MatMul", [q, k], [f"{at}.scores"])
    weights = graph.node("Softmax", [scores], [f"{at}.weights"], axis=-1)
    mixed = graph.node("MatMul", [weights, v], [f"{at}.mixed"])
    mixed = graph.node("Transpose", [mixed], [f"{at}.turned"], perm=[0, 2, 1, 3])
    mixed = graph.node("Reshape", [mixed, "joined"], [f"{at}.joined"])
    out = _affine(graph, f"{at}.out", mixed, shape.width, shape.width)
    x = graph.node("Add", [x, out], [f"{at}.attended"])
    normed = _normed(graph, f"{at}.norm2", x, shape.width)
    inner = _affine(graph, f"{at}.fc1", normed, shape.width, shape.mlp)
    inner = graph.node("Gelu", [inner], [f"{at}.gelu"], approximate="tanh")
    return graph.node("Add", [x, _affine(graph, f"{at}.fc2", inner, shape.mlp, shape.width)], [f"{at}.x"])


def _heads(graph: RandomGraph, shape: VisionShape, name: str, x: str, order: list[int]) -> str:
    wide = _affine(graph, name, x, shape.width, shape.width)
    apart = graph.node("Reshape", [wide, "split"], [f"{name}.split"])
    return graph.node("Transpose", [apart], [f"{name}.heads"], perm=order)


def _affine(graph: RandomGraph, name: str, x: str, rows: int, columns: int) -> str:
    product = graph.linear(name, x, rows, columns)
    bias = graph.values(f"{name}.bias", np.full(columns, 0.01))
    return graph.node("Add", [product, bias], [f"{name}.sum"])


def _normed(graph: RandomGraph, name: str, x: str, width: int) -> str:
    weight = graph.values(f"{name}.weight", np.ones(width))
    bias = graph.values(f"{name}.bias", np.zeros(width))
    return graph.node(
        "LayerNormalization", [x, weight, bias], [name], axis=-1, epsilon=_EPSILON, stash_type=1
    )
