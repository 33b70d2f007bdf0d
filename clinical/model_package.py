"""What a model package is made for: said by whoever exports one, written in it, and told in every result."""

from __future__ import annotations

from enum import StrEnum


class Precision(StrEnum):
    """Of the weights of the language model."""

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"
    INT8 = "int8"
    INT4 = "int4"


class ComputeDevice(StrEnum):
    """Where the package is to run."""

    CPU = "cpu"
    CUDA = "cuda"
