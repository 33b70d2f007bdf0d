"""What a precision means for each graph on each device."""

from __future__ import annotations

from dataclasses import dataclass

from clinical import ComputeDevice, Precision

_BITS = {Precision.INT8: 8, Precision.INT4: 4}
# Weights that share a scale, which is fp32 on the CPU: with 128 a weight of 4 bits takes 4.25 where the model builder's
# 32 make it 5, and a decode step waits for its bytes. Answers of the embedded model were no further from those of fp32
# (docs/models.md). On CUDA neither was measured.
_BLOCKS = {ComputeDevice.CPU: 128, ComputeDevice.CUDA: 32}


@dataclass(frozen=True, slots=True)
class Layout:
    """How the graphs are written.

    Attributes
    ----------
    precision, device
        As asked for.
    built
        Precision the model builder writes: matrices in fewer bits are made of it afterwards, one by one.
    builder_device
        What the model builder is told. Its fp16 and bf16 graphs for the CPU lack GroupQueryAttention and shared
        buffers; those for CUDA have both, and nothing in them is bound to the device.
    vision
        Precision of the vision tower and projector; pixels and features are fp32 in every graph.
    bits
        Of a quantised matrix; None where none is.
    block
        Weights of a column that share a scale, in a quantised matrix.
    """

    precision: Precision
    device: ComputeDevice
    built: Precision
    builder_device: ComputeDevice
    vision: Precision
    bits: int | None = None
    block: int | None = None


def layout(precision: str, device: str, vision: str | None = None) -> Layout:
    """Layout of a package.

    Parameters
    ----------
    vision
        Precision of the vision tower; None takes what fits the rest. Only int8 can be chosen, for a quantised decoder
        on the CPU.

    Raises
    ------
    ValueError
        For what does not exist, or cannot run on its device.
    """
    if precision not in list(Precision):
        raise ValueError(f"no precision {precision}; there are {', '.join(Precision)}")
    if device not in list(ComputeDevice):
        raise ValueError(f"no device {device}; there are {', '.join(ComputeDevice)}")
    wanted, place = Precision(precision), ComputeDevice(device)
    half = wanted in (Precision.FP16, Precision.BF16)
    if wanted is Precision.BF16 and place is ComputeDevice.CPU:
        raise ValueError(
            "ONNX Runtime multiplies no bf16 matrices on the CPU: export fp16 or fp32, or with --device cuda"
        )
    # A medical image loses more by fewer bits than the text that is made of it, and a CPU gains no time by them.
    whole = place is ComputeDevice.CPU or wanted is Precision.FP32
    shortened = wanted if half else Precision.FP16
    bits = _BITS.get(wanted)
    if vision is not None and (vision != Precision.INT8 or bits is None or place is not ComputeDevice.CPU):
        raise ValueError(
            "of the vision tower only int8 can be chosen, with an int8 or int4 decoder and --device cpu"
        )
    built = wanted if bits is None else Precision.FP32 if place is ComputeDevice.CPU else Precision.FP16
    builder_device = ComputeDevice.CUDA if half else place
    tower = Precision.INT8 if vision else Precision.FP32 if whole else shortened
    return Layout(wanted, place, built, builder_device, tower, bits, _BLOCKS[place] if bits else None)
