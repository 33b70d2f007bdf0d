"""ONNX graphs as bytes, without the package `onnx`: the few messages of ``onnx.proto`` that a graph of weights needs.

Field numbers are those of onnx.proto3 (onnx.ai, IR version 10); the encoding is Protocol Buffers' own: a varint
``number << 3 | wire type`` before each field, messages and strings with their length in front.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

FLOAT, INT32, INT64, FLOAT16 = 1, 6, 7, 10
_VARINT, _LENGTH, _FIXED32 = 0, 2, 5
_EXTERNAL = 1
_IR_VERSION = 10
Attribute = int | float | str | Sequence[int] | np.ndarray
Dim = int | str


def node(
    kind: str,
    inputs: Sequence[str],
    outputs: Sequence[str],
    *,
    domain: str = "",
    attributes: Mapping[str, Attribute] | None = None,
) -> bytes:
    """A ``NodeProto``; an array as an attribute becomes a tensor of int64."""
    found = b"".join(_text(1, name) for name in inputs) + b"".join(_text(2, name) for name in outputs)
    found += _text(3, outputs[0]) + _text(4, kind) + _text(7, domain)
    return found + b"".join(_message(5, _attribute(*pair)) for pair in (attributes or {}).items())


@dataclass(frozen=True, slots=True)
class ExternalTensor:
    """Weights that lie in a file beside the graph, from `offset` on."""

    name: str
    element: int
    dims: tuple[int, ...]
    file: str
    offset: int
    length: int

    def encoded(self) -> bytes:
        """A ``TensorProto``."""
        found = b"".join(_number(1, side) for side in self.dims) + _number(2, self.element)
        found += _text(8, self.name)
        for key, value in {"location": self.file, "offset": self.offset, "length": self.length}.items():
            found += _message(13, _text(1, key) + _text(2, str(value)))
        return found + _number(14, _EXTERNAL)


def value(name: str, element: int, dims: Sequence[Dim]) -> bytes:
    """A ``ValueInfoProto``: an input or output; a side with a name is free."""
    sides = b"".join(_message(1, _number(1, d) if isinstance(d, int) else _text(2, d)) for d in dims)
    return _text(1, name) + _message(2, _message(1, _number(1, element) + _message(2, sides)))


def model(
    nodes: Sequence[bytes],
    inputs: Sequence[bytes],
    outputs: Sequence[bytes],
    tensors: Sequence[ExternalTensor],
    *,
    opsets: Mapping[str, int],
) -> bytes:
    """A ``ModelProto``.

    Parameters
    ----------
    nodes
        In the order they run.
    opsets
        Version by operator domain.
    """
    graph = b"".join(_message(1, part) for part in nodes) + _text(2, "graph")
    graph += b"".join(_message(5, tensor.encoded()) for tensor in tensors)
    graph += b"".join(_message(11, part) for part in inputs) + b"".join(_message(12, p) for p in outputs)
    versions = (_text(1, domain) + _number(2, version) for domain, version in opsets.items())
    return _number(1, _IR_VERSION) + _message(7, graph) + b"".join(_message(8, part) for part in versions)


def _attribute(name: str, value: Attribute) -> bytes:
    """An ``AttributeProto``; its last field is the type of the value."""
    head = _text(1, name)
    if isinstance(value, int):
        return head + _number(3, value) + _number(20, 2)
    if isinstance(value, float):
        return head + _key(2, _FIXED32) + struct.pack("<f", value) + _number(20, 1)
    if isinstance(value, str):
        return head + _text(4, value) + _number(20, 3)
    if isinstance(value, np.ndarray):
        dims = b"".join(_number(1, side) for side in value.shape)
        tensor = dims + _number(2, INT64) + _message(9, value.astype("<i8").tobytes())
        return head + _message(5, tensor) + _number(20, 4)
    return head + b"".join(_number(8, number) for number in value) + _number(20, 7)


def _key(field: int, wire: int) -> bytes:
    return _varint(field << 3 | wire)


def _number(field: int, value: int) -> bytes:
    return _key(field, _VARINT) + _varint(value)


def _text(field: int, value: str) -> bytes:
    return _message(field, value.encode())


def _message(field: int, value: bytes) -> bytes:
    return _key(field, _LENGTH) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; a negative number as its 64-bit complement."""
    value &= (1 << 64) - 1
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
