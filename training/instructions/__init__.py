"""RadVLM instruction data written from phantoms; needs no torch."""

from training.instructions.rows import Row, Task, read_rows, rows_of, write_rows

__all__ = ["Row", "Task", "read_rows", "rows_of", "write_rows"]
