"""Element types of graph inputs and outputs, and the arrays that hold them.

NumPy has no bfloat16 and no 8-bit floats: their bits are kept in unsigned integers and ONNX Runtime is told the type by
its number in the ONNX standard (``TensorProto.DataType``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinical import Permanent

_BF16 = 16


@dataclass(frozen=True, slots=True)
class Element:
    """Type of a tensor's elements.

    Attributes
    ----------
    number
        ``TensorProto.DataType``.
    storage
        NumPy type of the same size that holds it.
    """

    number: int
    storage: np.dtype[Any]

    def encoded(self, values: NDArray[Any]) -> NDArray[Any]:
        """Numbers as an array of the storage type, contiguous; bfloat16 is rounded to nearest, ties to even."""
        if self.number != _BF16:
            return np.ascontiguousarray(values, dtype=self.storage)
        bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)

    def decoded(self, stored: NDArray[Any]) -> NDArray[np.float32]:
        """A copy of the numbers as float32."""
        if self.number != _BF16:
            return stored.astype(np.float32)
        return (stored.astype(np.uint32) << 16).view(np.float32)


_ELEMENTS = {
    "tensor(float)": Element(1, np.dtype(np.float32)),
    "tensor(uint8)": Element(2, np.dtype(np.uint8)),
    "tensor(int8)": Element(3, np.dtype(np.int8)),
    "tensor(float16)": Element(10, np.dtype(np.float16)),
    "tensor(bfloat16)": Element(_BF16, np.dtype(np.uint16)),
}


def element_of(graph_type: str) -> Element:
    """Element type of a graph's input or output, by ONNX Runtime's name for it.

    Raises
    ------
    Permanent
        ``element-type-unknown``.
    """
    try:
        return _ELEMENTS[graph_type]
    except KeyError:
        raise Permanent(
            "element-type-unknown", f"the model's graph holds {graph_type}, which is not served here"
        ) from None
