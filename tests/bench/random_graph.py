"""A decoder of Qwen2's shape with random weights, operator by operator as onnxruntime-genai's builder writes it.

Packed projections with bias, GroupQueryAttention with rotary embedding, logits of the last row only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.onnx_bytes import INT32, INT64, value
from tests.bench.random_weights import RandomGraph

_POSITIONS = 16384
_EPSILON = 1e-6
_OPSET = 22


@dataclass(frozen=True, slots=True)
class Shape:
    """Dimensions of a decoder; `precision` is ``"fp32"`` or ``"fp16"``."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    mlp: int
    vocabulary: int
    precision: str

    @property
    def head_size(self) -> int:
        """Size of one attention head."""
        return self.width // self.heads

    @property
    def storage(self) -> np.dtype[Any]:
        """Type of weights and cache."""
        return np.dtype(np.float16 if self.precision == "fp16" else np.float32)

    @property
    def weight_bytes(self) -> int:
        """Bytes of weights a decode step reads."""
        attention = self.width * (2 * self.heads + 2 * self.kv_heads) * self.head_size
        layer = attention + 3 * self.width * self.mlp
        return self.storage.itemsize * (self.layers * layer + self.width * self.vocabulary)

    def step_bytes(self, batch: int, length: int) -> int:
        """Bytes a decode step must read: the weights once, each row's keys and values."""
        row = 2 * self.layers * self.kv_heads * self.head_size * length
        return self.weight_bytes + batch * row * self.storage.itemsize


def write_decoder(shape: Shape, path: Path) -> None:
    """Write the graph to `path` and its weights beside it."""
    with RandomGraph(path, shape.storage) as graph:
        _lengths(graph)
        _rotary(graph, shape)
        weight = graph.values("first.weight", np.ones(shape.width))
        normed = graph.node(
            "SimplifiedLayerNormalization",
            ["inputs_embeds", weight],
            ["first"],
            axis=-1,
            epsilon=_EPSILON,
            stash_type=1,
        )
        residual = "inputs_embeds"
        for index in range(shape.layers):
            normed, residual = _layer(graph, shape, index, normed, residual, last=index + 1 == shape.layers)
        row = graph.node("Gather", [normed, "minus_one"], ["last_row"], axis=1)
        row = graph.node("Unsqueeze", [row, "one_list"], ["last_rows"])
        head = graph.random("head.weight", (shape.width, shape.vocabulary), shape.width)
        graph.node("MatMul", [row, head], ["logits"])
        graph.save(*_ends(graph, shape), _OPSET)


def _layer(
    graph: RandomGraph, shape: Shape, index: int, normed: str, residual: str, *, last: bool
) -> tuple[str, str]:
    at = f"layers.{index}"
    packed = (shape.heads + 2 * shape.kv_heads) * shape.head_size
    qkv = graph.linear(f"{at}.qkv", normed, shape.width, packed)
    bias = graph.values(f"{at}.qkv.bias", np.full(packed, 0.01))
    qkv = graph.node("Add", [qkv, bias], [f"{at}.qkv.sum"])
    past = [f"past_key_values.{index}.{part}" for part in ("key", "value")]
    present = [f"present.{index}.{part}" for part in ("key", "value")]
    attended = graph.node(
        "GroupQueryAttention",
        [qkv, "", "", *past, "lengths", "total", "cos", "sin"],
        [f"{at}.attended", *present],
        num_heads=shape.heads,
        kv_num_heads=shape.kv_heads,
        do_rotary=1,
    )
    out = graph.linear(f"{at}.o", attended, shape.heads * shape.head_size, shape.width)
    normed, residual = _normed(graph, shape, f"{at}.norm", residual, out, both=True)
    gate = graph.linear(f"{at}.gate", normed, shape.width, shape.mlp)
    up = graph.linear(f"{at}.up", normed, shape.width, shape.mlp)
    sigmoid = graph.node("Sigmoid", [gate], [f"{at}.sigmoid"])
    silu = graph.node("Mul", [gate, sigmoid], [f"{at}.silu"])
    inner = graph.node("Mul", [silu, up], [f"{at}.inner"])
    down = graph.linear(f"{at}.down", inner, shape.mlp, shape.width)
    return _normed(graph, shape, f"{at}.next", residual, down, both=not last)


def _normed(
    graph: RandomGraph, shape: Shape, name: str, residual: str, x: str, *, both: bool
) -> tuple[str, str]:
    weight = graph.values(f"{name}.weight", np.ones(shape.width))
    outputs = [name, "", "", f"{name}.sum"] if both else [name]
    graph.node("SkipSimplifiedLayerNormalization", [residual, x, weight], outputs, epsilon=_EPSILON)
    return name, f"{name}.sum"


def _lengths(graph: RandomGraph) -> None:
    """The attention mask only counts: tokens of each row, and of the longest."""
    for name, number in {"one_list": [1], "one": 1, "minus_one": -1}.items():
        graph.constant(name, number)
    graph.node("ReduceSum", ["attention_mask", "one_list"], ["counted"], keepdims=0)
    graph.node("Sub", ["counted", "one_list"], ["before"])
    graph.node("Cast", ["before"], ["lengths"], to=INT32)
    graph.node("Shape", ["attention_mask"], ["mask_shape"])
    graph.node("Gather", ["mask_shape", "one"], ["longest"], axis=0)
    graph.node("Cast", ["longest"], ["total"], to=INT32)


def _rotary(graph: RandomGraph, shape: Shape) -> None:
    half = np.arange(0, shape.head_size, 2) / shape.head_size
    angles = np.arange(_POSITIONS)[:, None] / 1e6 ** half[None]
    graph.values("cos", np.cos(angles))
    graph.values("sin", np.sin(angles))


def _ends(graph: RandomGraph, shape: Shape) -> tuple[list[bytes], list[bytes]]:
    number = graph.element
    inputs = [
        value("inputs_embeds", number, ["batch", "tokens", shape.width]),
        value("attention_mask", INT64, ["batch", "total"]),
    ]
    outputs = [value("logits", number, ["batch", 1, shape.vocabulary])]
    for index in range(shape.layers):
        for part in ("key", "value"):
            dims = ["batch", shape.kv_heads, "room", shape.head_size]
            inputs.append(value(f"past_key_values.{index}.{part}", number, dims))
            outputs.append(value(f"present.{index}.{part}", number, dims))
    return inputs, outputs
