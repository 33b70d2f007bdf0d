"""When memory runs out: recognised, and answered by doing less at once."""

from __future__ import annotations

from clinical import RadDraftError, Transient

OUT_OF_MEMORY = "out-of-memory"
# ONNX Runtime raises one kind of error for everything; its arena, CUDA and the C++ library say it in these words.
_SIGNS = (
    "failed to allocate memory",
    "out of memory",
    "bad_alloc",
    "bad allocation",
    "cudaerrormemoryallocation",
)


def is_shortage(error: BaseException) -> bool:
    """Whether an error says that memory ran out."""
    if isinstance(error, MemoryError) or (isinstance(error, Transient) and error.code == OUT_OF_MEMORY):
        return True
    return not isinstance(error, RadDraftError) and any(sign in str(error).lower() for sign in _SIGNS)


def refusal() -> Transient:
    """What a request is told that finds no memory even alone."""
    return Transient(OUT_OF_MEMORY, "the device has not enough memory for this request now")
