"""RadVLM instruction data, from phantoms or from the public data sets; needs no torch."""

from training.instructions.phantom_rows import rows_of, write_rows
from training.instructions.row import Row, read_rows
from training.task import Task

__all__ = ["Row", "Task", "read_rows", "rows_of", "write_rows"]
