"""The language model: a chunk of a prompt into one row of the cache, or one token into each of many.

Rows of one step have lengths of their own. The graph counts the ones of each row of the attention mask, so the mask is
padded on the right; on the left it would be silently wrong.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinical import Permanent
from inference.anyres import FloatArray
from inference.cache import CachePool, CacheRow
from inference.captured_steps import CapturedSteps, StepShape, run_options
from inference.device_memory import CudaMemory, DeviceMemory, HostMemory
from inference.elements import Element, element_of
from inference.requests import Decode
from inference.sampling import TokenScores, token_scores
from inference.sessions import Sessions
from inference.shortage import is_shortage

_log = logging.getLogger(__name__)

_PAST = "past_key_values."
_PRESENT = "present."
_MASK = "attention_mask"
_EMBEDS = "inputs_embeds"
_LOGITS = "logits"
_TRIED_TOKENS = 8


class Decoder:
    """Runs the decoder graph on embeddings; used by the engine thread only.

    Parameters
    ----------
    embeddings
        float (vocabulary, width): the token table.
    head_size
        Size of one attention head; the graph does not say it.
    rows, reserve, capacity
        See `inference.cache.CachePool`.
    most_bytes
        What all rows may take; fewer are made where it is less than they need, None sets no limit.
    quantised
        Whether its matrix products are quantised. On some machines those of one row then round otherwise than those of
        several, and an answer must not depend on who else is served: there a decode step has two rows at least, and
        an empty one is added. Which it is here is tried when the decoder is made.

    Attributes
    ----------
    pool
        The rows of the cache.

    Raises
    ------
    Permanent
        ``cache-too-small`` where `most_bytes` has no room for one row beside the reserve.
    """

    def __init__(
        self,
        sessions: Sessions,
        embeddings: FloatArray,
        *,
        head_size: int,
        rows: int,
        reserve: int,
        capacity: int,
        most_bytes: int | None = None,
        quantised: bool = False,
    ) -> None:
        self._session = sessions.decoder
        self._device = sessions.device
        # Not a memmap: its every slice would cost microseconds.
        self._embeddings: FloatArray = np.asarray(embeddings).view(np.ndarray)
        inputs = {i.name: i for i in self._session.get_inputs()}
        self._past_names = [name for name in inputs if name.startswith(_PAST)]
        first = inputs[self._past_names[0]]
        self._cache_element = element_of(first.type)
        self._embeds_element = element_of(inputs[_EMBEDS].type)
        self._logits_element = element_of(self._session.get_outputs()[0].type)
        self._row_shape = (int(first.shape[1]), capacity, head_size)
        fewest = 2 if quantised else 1
        rows = self._affordable(rows, reserve, most_bytes, fewest) + fewest - 1
        memory_class = CudaMemory if self._device == "cuda" else HostMemory
        shape = (rows, *self._row_shape)
        self._memory: DeviceMemory = memory_class(len(self._past_names), shape, self._cache_element)
        self.pool = CachePool(self._memory, reserve=reserve)
        self._logits = np.zeros((rows, 1, len(embeddings)), dtype=self._logits_element.storage)
        self._bindings: dict[tuple[int, int], Any] = {}
        # A run of a session that captures is captured unless it says that it is none of the steps.
        self._run_options = (run_options(-1),) if sessions.captures else ()
        self._captured = self._capturing(embeddings.shape[1]) if sessions.captures else None
        self._fewest = fewest if quantised and not self._rounds_alike() else 1
        self._padding = [
            row for row in (self.pool.take(first=True) for _ in range(self._fewest - 1)) if row is not None
        ]

    @property
    def cache_bytes(self) -> int:
        """Bytes the cache may come to hold."""
        return self._memory.rows * self._row_bytes

    @property
    def _row_bytes(self) -> int:
        heads, capacity, size = self._row_shape
        return len(self._past_names) * heads * capacity * size * self._cache_element.storage.itemsize

    def _capturing(self, width: int) -> CapturedSteps:
        shape = StepShape(
            width,
            self._logits.shape[-1],
            self._row_shape[1],
            embeds=self._embeds_element,
            logits=self._logits_element,
        )
        return CapturedSteps(self._session, self._device, lambda count: self._cache_binding(0, count), shape)

    def _rounds_alike(self) -> bool:
        """Whether a row's scores are the same bits alone and beside another; the number of rows chooses the kernel."""
        rows = [row for row in (self.pool.take(first=True) for _ in range(2)) if row is not None]
        embeds = self.embed(range(min(_TRIED_TOKENS, len(self._embeddings) - 1)))
        for row in rows:
            self.prefill(row, embeds)
        token = self.embed([len(embeds)])[None]
        together = self._run(self.pool.side_by_side(rows), np.repeat(token, len(rows), axis=0))[0]
        first = next(row for row in rows if row.place == 0)
        first.length = len(embeds)
        alone = self._run([first], token)[0]
        for row in rows:
            self.pool.release(row)
        return bool(np.array_equal(alone.log_probabilities(), together.log_probabilities()))

    def _affordable(self, rows: int, reserve: int, most_bytes: int | None, fewest: int) -> int:
        if most_bytes is None:
            return rows
        found = min(rows, most_bytes // self._row_bytes - (fewest - 1))
        if found < 1 + reserve:
            needed = (fewest + reserve) * self._row_bytes
            raise Permanent(
                "cache-too-small",
                f"the model's cache needs at least {needed} bytes; allow them, or fewer image tokens",
                tag="model.cache_bytes",
            )
        return found

    def embed(self, tokens: Sequence[int]) -> FloatArray:
        """Embeddings (len(tokens), width)."""
        return self._embeddings[list(tokens)]

    def prefill(self, row: CacheRow, embeds: FloatArray) -> TokenScores:
        """Read `embeds` (n, width) after what `row` holds.

        Raises
        ------
        Permanent
            ``context-too-long`` if the row is full, ``logits-not-finite`` if the package is broken.
        """
        return self._run([row], embeds[None])[0].checked()

    def step(self, requests: Sequence[Decode]) -> list[TokenScores]:
        """Read one token into each row; scores of each request's next token, not checked."""
        padding = self._padding[: max(0, self._fewest - len(requests))]
        for row in padding:
            row.length = 0
        tokens = {request.row: request.token for request in requests} | dict.fromkeys(padding, 0)
        rows = self.pool.side_by_side(list(tokens))
        scores = self._run(rows, self.embed([tokens[row] for row in rows])[:, None])
        found = dict(zip(rows, scores, strict=True))
        return [found[request.row] for request in requests]

    def _run(self, rows: Sequence[CacheRow], embeds: FloatArray) -> list[TokenScores]:
        """Read `embeds` (rows, n, width) after what each row holds; scores of each row's next token."""
        added = embeds.shape[1]
        lengths = [row.length + added for row in rows]
        longest = max(lengths)
        if longest > self.pool.capacity:
            raise Permanent("context-too-long", "the conversation is longer than the model's context allows")
        inputs = self._embeds_element.encoded(embeds)
        if not (added == 1 and rows[0].place == 0 and self._replayed(inputs, lengths)):
            binding = self._binding(rows[0].place, len(rows))
            # Both arrays live until the run has ended: on the CPU the binding refers to them without a copy.
            mask = self._mask(lengths, longest)
            _bind_array(binding, _EMBEDS, inputs, self._embeds_element)
            binding.bind_cpu_input(_MASK, mask)
            self._session.run_with_iobinding(binding, *self._run_options)
        for row, length in zip(rows, lengths, strict=True):
            row.length = length
        return token_scores(self._logits_element.decoded(self._logits[: len(rows), 0]))

    def _replayed(self, inputs: NDArray[Any], lengths: Sequence[int]) -> bool:
        """Run a step as a captured graph; False where there are none, or none any more."""
        if self._captured is None:
            return False
        try:
            self._captured.run(inputs, lengths, self._logits[: len(lengths)])
        except Exception as error:
            if is_shortage(error):
                raise
            _log.warning("a decode step could not be captured as a CUDA graph; they run without from now on")
            self._captured = None
        return self._captured is not None

    def _mask(self, lengths: Sequence[int], longest: int) -> NDArray[np.int64]:
        """Ones for what each row holds, zeros on the right (rows, longest)."""
        mask = np.ones((len(lengths), longest), dtype=np.int64)
        for index, length in enumerate(lengths):
            mask[index, length:] = 0
        return mask

    def _binding(self, first: int, count: int) -> Any:
        """Binding of `count` rows from place `first` on, past and present at once."""
        known = self._bindings.get((first, count))
        if known is not None:
            return known
        binding = self._cache_binding(first, count)
        logits = self._logits[:count]
        binding.bind_output(_LOGITS, "cpu", 0, self._logits_element.number, logits.shape, logits.ctypes.data)
        self._bindings[first, count] = binding
        return binding

    def _cache_binding(self, first: int, count: int) -> Any:
        """A new binding that names the keys and values alone."""
        binding = self._session.io_binding()
        shape, number = (count, *self._row_shape), self._cache_element.number
        for index, name in enumerate(self._past_names):
            address = self._memory.address(index, first)
            binding.bind_input(name, self._device, 0, number, shape, address)
            present = name.replace(_PAST, _PRESENT)
            binding.bind_output(present, self._device, 0, number, shape, address)
        return binding


def _bind_array(binding: Any, name: str, array: NDArray[Any], element: Element) -> None:
    if element.storage.kind == "u":
        import onnxruntime as ort

        value = ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array, element.number)
        binding.bind_ortvalue_input(name, value)
    else:
        binding.bind_cpu_input(name, array)
