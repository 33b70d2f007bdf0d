"""Rows by number as batches of samples; what is too long is left out, and never cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from training.instructions import Row
from training.tuning.samples import NO_LOSS, Sample, SampleReader, collate


class SampleBatches:
    """Reads the rows that a trainer names by number.

    Raises
    ------
    ValueError
        None of the rows has at most `max_tokens` tokens.
    """

    def __init__(self, rows: Sequence[Row], reader: SampleReader, max_tokens: int) -> None:
        self.reader = reader
        self._rows, self._max_tokens = rows, max_tokens
        self._spare = self._first_that_fits()

    def __call__(self, chosen: Sequence[Mapping[str, int]]) -> dict[str, Tensor]:
        """A batch of what fits.

        With nothing short enough to learn from, a process still takes part with a sample that carries no loss: where
        the weights are sharded, the others wait for its share of every layer.
        """
        samples = [self.reader.read(self._rows[one["row"]]) for one in chosen]
        return collate(
            [sample for sample in samples if self._fits(sample)] or [self._spare], self.reader.pad_id
        )

    def _fits(self, sample: Sample) -> bool:
        return len(sample.tokens.ids) <= self._max_tokens

    def _first_that_fits(self) -> Sample:
        for row in self._rows:
            if self._fits(sample := self.reader.read(row)):
                silent = (NO_LOSS,) * len(sample.tokens.ids)
                return replace(sample, tokens=replace(sample.tokens, targets=silent))
        raise ValueError(
            f"none of {len(self._rows)} rows has at most {self._max_tokens} tokens: raise max_tokens"
        )
