"""A decoder graph with random weights, written straight to disk: no framework holds a 7B model for it.

The nodes are those onnxruntime-genai's builder writes for Qwen2: packed projections with bias, GroupQueryAttention with
rotary embedding, logits of the last row only. Needs the package `onnx`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

_POSITIONS = 16384
_EPSILON = 1e-6
_BLOCK = 1 << 24


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


class _Weights:
    """Initialisers in an external data file, written one after another."""

    def __init__(self, file: IO[bytes], shape: Shape) -> None:
        self.tensors: list[Any] = []
        self._file = file
        self._shape = shape
        draws = np.random.default_rng(0)
        self._block = draws.standard_normal(_BLOCK, dtype=np.float32)

    def matrix(self, name: str, rows: int, columns: int) -> str:
        """Random values that keep the size of what goes through; a block of them over and over."""
        block = (self._block / np.float32(rows**0.5)).astype(self._shape.storage)
        offset, left = self._begin(), rows * columns
        while left > 0:
            self._file.write(block[:left].data)
            left -= len(block)
        return self._add(name, (rows, columns), offset)

    def values(self, name: str, array: NDArray[Any]) -> str:
        """The given values."""
        offset = self._begin()
        self._file.write(np.ascontiguousarray(array, dtype=self._shape.storage).data)
        return self._add(name, array.shape, offset)

    def _begin(self) -> int:
        # Aligned for mapping the file into memory.
        self._file.write(b"\0" * (-self._file.tell() % 4096))
        return self._file.tell()

    def _add(self, name: str, dims: Sequence[int], offset: int) -> str:
        import onnx

        number = onnx.helper.np_dtype_to_tensor_dtype(self._shape.storage)
        tensor = onnx.TensorProto(name=name, data_type=number, dims=dims)
        tensor.data_location = onnx.TensorProto.EXTERNAL
        length = self._file.tell() - offset
        for key, value in {"location": "decoder.data", "offset": offset, "length": length}.items():
            tensor.external_data.add(key=key, value=str(value))
        self.tensors.append(tensor)
        return name


class _Graph:
    def __init__(self, shape: Shape, weights: _Weights) -> None:
        self.shape = shape
        self.weights = weights
        self.nodes: list[Any] = []

    def node(self, kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> str:
        import onnx

        ours = kind in ("GroupQueryAttention", "SkipSimplifiedLayerNormalization")
        domain = "com.microsoft" if ours else ""
        self.nodes.append(onnx.helper.make_node(kind, inputs, outputs, domain=domain, **attributes))
        return outputs[0]

    def linear(self, name: str, x: str, rows: int, columns: int) -> str:
        return self.node("MatMul", [x, self.weights.matrix(f"{name}.weight", rows, columns)], [name])

    def layer(self, index: int, normed: str, residual: str, *, last: bool) -> tuple[str, str]:
        shape, at = self.shape, f"layers.{index}"
        packed = (shape.heads + 2 * shape.kv_heads) * shape.head_size
        qkv = self.linear(f"{at}.qkv", normed, shape.width, packed)
        bias = self.weights.values(f"{at}.qkv.bias", np.full(packed, 0.01))
        qkv = self.node("Add", [qkv, bias], [f"{at}.qkv.sum"])
        past = [f"past_key_values.{index}.{part}" for part in ("key", "value")]
        present = [f"present.{index}.{part}" for part in ("key", "value")]
        attended = self.node(
            "GroupQueryAttention",
            [qkv, "", "", *past, "lengths", "total", "cos", "sin"],
            [f"{at}.attended", *present],
            num_heads=shape.heads,
            kv_num_heads=shape.kv_heads,
            do_rotary=1,
        )
        out = self.linear(f"{at}.o", attended, shape.heads * shape.head_size, shape.width)
        normed, residual = self.normed(f"{at}.norm", residual, out, both=True)
        gate = self.linear(f"{at}.gate", normed, shape.width, shape.mlp)
        up = self.linear(f"{at}.up", normed, shape.width, shape.mlp)
        sigmoid = self.node("Sigmoid", [gate], [f"{at}.sigmoid"])
        silu = self.node("Mul", [gate, sigmoid], [f"{at}.silu"])
        inner = self.node("Mul", [silu, up], [f"{at}.inner"])
        down = self.linear(f"{at}.down", inner, shape.mlp, shape.width)
        return self.normed(f"{at}.next", residual, down, both=not last)

    def normed(self, name: str, residual: str, x: str, *, both: bool) -> tuple[str, str]:
        weight = self.weights.values(f"{name}.weight", np.ones(self.shape.width))
        outputs = [name, "", "", f"{name}.sum"] if both else [name]
        self.node("SkipSimplifiedLayerNormalization", [residual, x, weight], outputs, epsilon=_EPSILON)
        return name, f"{name}.sum"


def write_decoder(shape: Shape, path: Path) -> None:
    """Write the graph to `path` and its weights beside it."""
    import onnx

    with (path.parent / "decoder.data").open("wb") as file:
        graph = _Graph(shape, _Weights(file, shape))
        _lengths(graph)
        _rotary(graph)
        weight = graph.weights.values("first.weight", np.ones(shape.width))
        attributes = {"axis": -1, "epsilon": _EPSILON, "stash_type": 1}
        normed = graph.node(
            "SimplifiedLayerNormalization", ["inputs_embeds", weight], ["first"], **attributes
        )
        residual = "inputs_embeds"
        for index in range(shape.layers):
            normed, residual = graph.layer(index, normed, residual, last=index + 1 == shape.layers)
        row = graph.node("Gather", [normed, "minus_one"], ["last_row"], axis=1)
        row = graph.node("Unsqueeze", [row, "one_list"], ["last_rows"])
        head = graph.weights.matrix("head.weight", shape.width, shape.vocabulary)
        graph.node("MatMul", [row, head], ["logits"])
    inputs, outputs = _ends(shape)
    proto = onnx.helper.make_graph(graph.nodes, "decoder", inputs, outputs, graph.weights.tensors)
    opsets = [onnx.helper.make_opsetid("", 22), onnx.helper.make_opsetid("com.microsoft", 1)]
    onnx.save_model(onnx.helper.make_model(proto, opset_imports=opsets, ir_version=10), path)


def _lengths(graph: _Graph) -> None:
    """The attention mask only counts: tokens of each row, and of the longest."""
    import onnx

    int32 = onnx.TensorProto.INT32
    for name, value in {"one_list": [1], "one": 1, "minus_one": -1}.items():
        constant = onnx.numpy_helper.from_array(np.array(value, dtype=np.int64))
        graph.node("Constant", [], [name], value=constant)
    graph.node("ReduceSum", ["attention_mask", "one_list"], ["counted"], keepdims=0)
    graph.node("Sub", ["counted", "one_list"], ["before"])
    graph.node("Cast", ["before"], ["lengths"], to=int32)
    graph.node("Shape", ["attention_mask"], ["mask_shape"])
    graph.node("Gather", ["mask_shape", "one"], ["longest"], axis=0)
    graph.node("Cast", ["longest"], ["total"], to=int32)


def _rotary(graph: _Graph) -> None:
    half = np.arange(0, graph.shape.head_size, 2) / graph.shape.head_size
    angles = np.arange(_POSITIONS)[:, None] / 1e6 ** half[None]
    graph.weights.values("cos", np.cos(angles))
    graph.weights.values("sin", np.sin(angles))


def _ends(shape: Shape) -> tuple[list[Any], list[Any]]:
    import onnx

    number = onnx.helper.np_dtype_to_tensor_dtype(shape.storage)
    make = onnx.helper.make_tensor_value_info
    inputs = [
        make("inputs_embeds", number, ["batch", "tokens", shape.width]),
        make("attention_mask", onnx.TensorProto.INT64, ["batch", "total"]),
    ]
    outputs = [make("logits", number, ["batch", 1, shape.vocabulary])]
    for index in range(shape.layers):
        for part in ("key", "value"):
            dims: list[str | int | None] = ["batch", shape.kv_heads, "room", shape.head_size]
            inputs.append(make(f"past_key_values.{index}.{part}", number, dims))
            outputs.append(make(f"present.{index}.{part}", number, dims))
    return inputs, outputs
