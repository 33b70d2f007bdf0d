"""Special tokens of the embedded model, in Qwen's order."""

from __future__ import annotations

SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>")


def special_ids(first: int) -> dict[str, int]:
    """Ids of the specials when the first of them has id `first` (the size of the learned vocabulary)."""
    return {token: first + index for index, token in enumerate(SPECIALS)}
