"""Special tokens of the embedded model, in Qwen's order."""

from __future__ import annotations

SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>")


def special_ids(vocabulary: int) -> dict[str, int]:
    """Ids of the specials: the last `len(SPECIALS)` of a vocabulary."""
    first = vocabulary - len(SPECIALS)
    return {token: first + index for index, token in enumerate(SPECIALS)}
