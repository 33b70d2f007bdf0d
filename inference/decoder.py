"""The language model with its key-value cache: prefill, one step, take back.

The cache is allocated once per image and stays on the device; past and present are the same buffer
(GroupQueryAttention with shared buffers), so a step copies nothing. What lies behind `length` is stale and
harmless: the next tokens overwrite it, and the attention mask hides it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinical import Permanent
from inference.anyres import FloatArray
from inference.sessions import Sessions

IntArray = NDArray[np.int64]


class Cache:
    """Keys and values of one image and what was said of it so far.

    Attributes
    ----------
    length
        Positions that count.
    """

    def __init__(self, decoder: Decoder, capacity: int) -> None:
        self.capacity = capacity
        self.length = 0
        self.binding = decoder.bind(capacity)


class Decoder:
    """Runs the decoder graph on embeddings.

    Parameters
    ----------
    embeddings
        float (vocabulary, width): the token table.
    head_dim
        Size of one attention head; the graph does not say it.
    """

    def __init__(self, sessions: Sessions, embeddings: FloatArray, *, head_dim: int) -> None:
        self._session = sessions.decoder
        self._device = sessions.device
        self._embeddings = embeddings
        pasts = [i for i in self._session.get_inputs() if i.name.startswith("past_key_values.")]
        self._cache_names = [(i.name, i.name.replace("past_key_values", "present")) for i in pasts]
        self._kv_heads = int(pasts[0].shape[1])
        self._dtype = np.float16 if "float16" in pasts[0].type else np.float32
        self._head_dim = head_dim
        self._logits = _zeros((1, 1, len(embeddings)), self._dtype, "cpu")

    def bind(self, capacity: int) -> Any:
        """IO binding over zeroed buffers (1, kv heads, capacity, head size), two per layer, on the device.

        It owns the buffers, and is past and present at once.
        """
        binding = self._session.io_binding()
        for past, present in self._cache_names:
            buffer = _zeros((1, self._kv_heads, capacity, self._head_dim), self._dtype, self._device)
            binding.bind_ortvalue_input(past, buffer)
            binding.bind_ortvalue_output(present, buffer)
        binding.bind_ortvalue_output("logits", self._logits)
        return binding

    def embed(self, tokens: list[int]) -> FloatArray:
        """Embeddings (len(tokens), width)."""
        return self._embeddings[tokens]

    def append(self, cache: Cache, embeds: FloatArray) -> FloatArray:
        """Read `embeds` (n, width) after what the cache holds; log-probabilities (vocabulary,) of the next token.

        Raises
        ------
        Permanent
            ``context-too-long`` if the cache is full; ``logits-not-finite`` if the weights or their precision are
            broken.
        """
        total = cache.length + len(embeds)
        if total > cache.capacity:
            raise Permanent("context-too-long", "the conversation is longer than the model's context allows")
        # Both arrays live until the run has ended: on the CPU the binding may refer to them without a copy.
        inputs = np.ascontiguousarray(embeds[None], dtype=self._dtype)
        mask = np.ones((1, total), dtype=np.int64)
        cache.binding.bind_cpu_input("inputs_embeds", inputs)
        cache.binding.bind_cpu_input("attention_mask", mask)
        self._session.run_with_iobinding(cache.binding)
        logits: FloatArray = self._logits.numpy().reshape(-1).astype(np.float32)
        cache.length = total
        if not np.isfinite(logits.max()):
            raise Permanent("logits-not-finite", "the model computes no numbers; its package is broken")
        return log_softmax(logits)


def _zeros(shape: tuple[int, ...], dtype: type, device: str) -> Any:
    import onnxruntime as ort

    return ort.OrtValue.ortvalue_from_numpy(np.zeros(shape, dtype=dtype), device, 0)


def log_softmax(logits: FloatArray) -> FloatArray:
    """Natural logarithms of the probabilities."""
    shifted = logits - logits.max()
    result: FloatArray = shifted - np.log(np.exp(shifted).sum())
    return result
