"""Decode steps that a CUDA device replays: captured once for each number of rows.

A CUDA graph holds addresses and sizes, so nothing of a step may move: its inputs and outputs lie in buffers of their
own and the attention mask is as wide as the cache, its ones alone saying how long each row is. ONNX Runtime captures
the first runs that name a ``gpu_graph_id`` (enable_cuda_graph of its CUDA provider) and replays them afterwards; runs
whose sizes change name -1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.device_memory import CudaBuffer, DeviceBuffer, HostBuffer
from inference.elements import Element

_GRAPH_ID = "gpu_graph_id"
_INT64 = 7


def run_options(graph_id: int) -> Any:
    """Options of a run that belongs to a captured graph; -1 belongs to none."""
    import onnxruntime as ort

    options = ort.RunOptions()
    options.add_run_config_entry(_GRAPH_ID, str(graph_id))
    return options


@dataclass(frozen=True, slots=True)
class StepShape:
    """What a step reads and writes beside the cache.

    Attributes
    ----------
    width, vocabulary
        Of an embedding, of the scores of the next token.
    capacity
        Positions of a row of the cache.
    embeds, logits
        Element types.
    """

    width: int
    vocabulary: int
    capacity: int
    embeds: Element
    logits: Element


@dataclass(frozen=True, slots=True)
class _Step:
    binding: Any
    options: Any
    embeds: DeviceBuffer
    mask: DeviceBuffer
    ones: NDArray[np.int64]
    logits: DeviceBuffer


class CapturedSteps:
    """Steps of the rows at the first places of the cache.

    Parameters
    ----------
    session
        Made by `inference.sessions.capturing_session`.
    device
        ``"cuda"``; ``"cpu"`` runs the same steps without a capture.
    bind_cache
        Binding of the first rows' keys and values, by their number.
    """

    def __init__(self, session: Any, device: str, bind_cache: Callable[[int], Any], shape: StepShape) -> None:
        self._session = session
        self._device = device
        self._bind_cache = bind_cache
        self._shape = shape
        self._steps: dict[int, _Step] = {}

    def run(self, embeds: NDArray[Any], lengths: Sequence[int], logits: NDArray[Any]) -> None:
        """Read one token into each row.

        Parameters
        ----------
        embeds
            (rows, 1, width), encoded as the graph takes them.
        lengths
            Of each row, the token included.
        logits
            (rows, 1, vocabulary): filled.
        """
        count = len(lengths)
        step = self._steps.get(count)
        if step is None:
            step = self._steps[count] = self._laid_out(count)
        for ones, length in zip(step.ones, lengths, strict=True):
            ones[:length] = 1
            ones[length:] = 0
        step.mask.write(step.ones)
        step.embeds.write(embeds)
        self._session.run_with_iobinding(step.binding, step.options)
        step.logits.read(logits)

    def _laid_out(self, count: int) -> _Step:
        shape, make = self._shape, CudaBuffer if self._device == "cuda" else HostBuffer
        ones = np.zeros((count, shape.capacity), dtype=np.int64)
        embeds = make(count * shape.width * shape.embeds.storage.itemsize)
        mask = make(ones.nbytes)
        logits = make(count * shape.vocabulary * shape.logits.storage.itemsize)
        binding = self._bind_cache(count)
        sides = (count, 1, shape.width)
        binding.bind_input("inputs_embeds", self._device, 0, shape.embeds.number, sides, embeds.address)
        binding.bind_input("attention_mask", self._device, 0, _INT64, ones.shape, mask.address)
        sides = (count, 1, shape.vocabulary)
        binding.bind_output("logits", self._device, 0, shape.logits.number, sides, logits.address)
        return _Step(binding, run_options(count), embeds, mask, ones, logits)
