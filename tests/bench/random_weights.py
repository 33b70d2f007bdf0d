"""A graph with random weights on its way to disk: no framework holds a 7B model for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.bench import onnx_bytes
from tests.bench.onnx_bytes import FLOAT, FLOAT16, Attribute, ExternalTensor

_BLOCK = 1 << 24
_OURS = ("GroupQueryAttention", "SkipSimplifiedLayerNormalization")


class RandomGraph:
    """Nodes, and weights in a file beside them, written one after another; a context manager that ends the file.

    Parameters
    ----------
    path
        Of the graph; the weights go beside it.
    storage
        NumPy type of the weights: float32 or float16.
    """

    def __init__(self, path: Path, storage: np.dtype[Any]) -> None:
        self.storage = storage
        self.element = FLOAT16 if storage.itemsize == 2 else FLOAT
        self._path = path
        self._data = path.with_suffix(".data")
        self._file = self._data.open("wb")
        self._nodes: list[bytes] = []
        self._tensors: list[ExternalTensor] = []
        self._block = np.random.default_rng(0).standard_normal(_BLOCK, dtype=np.float32)

    def __enter__(self) -> RandomGraph:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def node(self, kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Attribute) -> str:
        """Add an operator; its first output."""
        domain = "com.microsoft" if kind in _OURS else ""
        self._nodes.append(onnx_bytes.node(kind, inputs, outputs, domain=domain, attributes=attributes))
        return outputs[0]

    def constant(self, name: str, value: Any) -> str:
        """Whole numbers that are part of the graph."""
        return self.node("Constant", [], [name], value=np.array(value, dtype=np.int64))

    def linear(self, name: str, x: str, rows: int, columns: int) -> str:
        """A product with a random matrix that keeps the size of what goes through."""
        return self.node("MatMul", [x, self.random(f"{name}.weight", (rows, columns), rows)], [name])

    def random(self, name: str, dims: tuple[int, ...], inputs: int) -> str:
        """Random weights for `inputs` summands; one block of them over and over."""
        offset, left = self._begin(), int(np.prod(dims))
        block = (self._block[:left] / np.float32(inputs**0.5)).astype(self.storage)
        while left > 0:
            self._file.write(block[:left].data)
            left -= len(block)
        return self._add(name, dims, offset)

    def values(self, name: str, array: NDArray[Any]) -> str:
        """The given weights."""
        offset = self._begin()
        self._file.write(np.ascontiguousarray(array, dtype=self.storage).data)
        return self._add(name, array.shape, offset)

    def save(self, inputs: Sequence[bytes], outputs: Sequence[bytes], opset: int) -> None:
        """Write the graph."""
        opsets = {"": opset, "com.microsoft": 1}
        self._path.write_bytes(onnx_bytes.model(self._nodes, inputs, outputs, self._tensors, opsets=opsets))

    def _begin(self) -> int:
        # Aligned for mapping the file into memory.
        self._file.write(b"\0" * (-self._file.tell() % 4096))
        return self._file.tell()

    def _add(self, name: str, dims: tuple[int, ...], offset: int) -> str:
        length = self._file.tell() - offset
        self._tensors.append(ExternalTensor(name, self.element, dims, self._data.name, offset, length))
        return name
