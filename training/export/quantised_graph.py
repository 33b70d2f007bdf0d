"""Matrices in fewer bits. A decoder's one after another: never more than one of them is in memory.

ONNX Runtime's own quantiser does the arithmetic (its default method: symmetric blocks along the columns, what
onnxruntime-genai's model builder uses too); given a whole graph, it would hold all of it, rounded and not.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

# As the model builder's: the level that lets a CPU multiply in int8.
_INT8_PRODUCTS = 4
_ALIGNED_BYTES = 64


def quantise_graph(
    source: Path,
    target: Path,
    bits: int,
    block: int,
    *,
    int8_products: bool,
    progress: Callable[[str], None] = lambda step: None,
) -> None:
    """Write `source` with every product with a constant matrix quantised to `target`, weights in ``.data`` beside it.

    Parameters
    ----------
    source
        A graph whose weights are in one file beside it, fp32 or fp16; the scales become of that type.
    bits
        8 or 4.
    block
        Weights of a column that share a scale: 16, 32, 64, 128 or 256.
    int8_products
        Whether what is multiplied with them may be rounded to int8: MatMulNBits' accuracy level 4, for the CPU.
    """
    import onnx

    quantiser = _quantiser(bits, block, int8_products)
    model = onnx.load(source, load_external_data=False)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    del model.graph.initializer[:]
    nodes = list(model.graph.node)
    del model.graph.node[:]
    data = target.with_name(f"{target.name}.data")
    with data.open("wb") as file:
        for number, node in enumerate(nodes, start=1):
            if node.op_type == "MatMul" and node.input[1] in stored:
                progress(f"quantising, operator {number} of {len(nodes)}")
                alone = onnx.GraphProto()
                alone.initializer.append(_loaded(stored.pop(node.input[1]), source))
                model.graph.node.extend(quantiser.quantize(node, [alone]))
                # The first is the matrix as it was.
                kept = list(alone.initializer)[1:]
            else:
                model.graph.node.append(node)
                kept = [_loaded(stored.pop(name), source) for name in node.input if name in stored]
            model.graph.initializer.extend(_moved(tensor, file, data.name) for tensor in kept)
    onnx.save_model(model, target)


def quantise_vision(source: Path, target: Path) -> None:
    """Write a vision tower with int8 matrices, each column with its scale; what they multiply is rounded as it comes.

    ONNX Runtime's dynamic quantisation (DynamicQuantizeLinear, MatMulInteger): convolution, normalisation, attention's
    own products and activations stay fp32.
    """
    with _quiet_root_logger():
        from onnxruntime.quantization import QuantType, quantize_dynamic

        quantize_dynamic(
            source,
            target,
            op_types_to_quantize=["MatMul"],
            weight_type=QuantType.QInt8,
            per_channel=True,
            use_external_data_format=True,
            extra_options={"MatMulConstBOnly": True},
        )


@contextmanager
def _quiet_root_logger() -> Iterator[None]:
    """Give the root logger a handler: the quantisers' modules set it up for the whole process where it has none."""
    root, nothing = logging.getLogger(), logging.NullHandler()
    root.addHandler(nothing)
    try:
        yield
    finally:
        root.removeHandler(nothing)


def _quantiser(bits: int, block: int, int8_products: bool) -> Any:
    with _quiet_root_logger():
        from onnxruntime.quantization import matmul_nbits_quantizer as kit
    logging.getLogger(kit.__name__).setLevel(logging.WARNING)
    level = _INT8_PRODUCTS if int8_products else None
    return kit.DefaultWeightOnlyQuantizer(
        kit.DefaultWeightOnlyQuantConfig(block_size=block, is_symmetric=True, accuracy_level=level, bits=bits)
    )


def _loaded(tensor: Any, graph: Path) -> Any:
    """The tensor with its values, from the file beside its graph."""
    if not tensor.external_data:
        return tensor
    entries = {entry.key: entry.value for entry in tensor.external_data}
    offset, length = int(entries.get("offset", 0)), int(entries["length"])
    values: NDArray[np.uint8] = np.fromfile(
        graph.parent / entries["location"], dtype=np.uint8, count=length, offset=offset
    )
    tensor.ClearField("external_data")
    tensor.ClearField("data_location")
    tensor.raw_data = values.tobytes()
    return tensor


def _moved(tensor: Any, file: IO[bytes], name: str) -> Any:
    """The tensor with its values in `file`."""
    file.write(b"\0" * (-file.tell() % _ALIGNED_BYTES))
    entries = {"location": name, "offset": file.tell(), "length": len(tensor.raw_data)}
    file.write(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = tensor.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor
