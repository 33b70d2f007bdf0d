"""Progress of a training run: one JSON line per event in a file, a short line on standard output."""

from __future__ import annotations

import json
import time
from pathlib import Path


class TrainingLog:
    """Averages losses over `every` steps; only the active process writes."""

    def __init__(self, path: Path, *, active: bool, every: int = 50) -> None:
        self._path, self._active, self._every = path, active, every
        self._sums: dict[str, float] = {}
        self._count = 0

    def resume(self, step: int) -> None:
        """Drop what was written after `step` by a run that was killed; at 0, all of it."""
        if not self._active or not self._path.exists():
            return
        lines = self._path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
        self._path.write_text("".join(kept), encoding="utf-8")

    def loss(self, step: int, elapsed_s: float, values: dict[str, float]) -> None:
        """Add one step's losses; written every `every` steps."""
        self._count += 1
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        if self._count == self._every:
            means = {name: round(total / self._count, 5) for name, total in self._sums.items()}
            self._write(step, elapsed_s, means)
            self._sums, self._count = {}, 0

    def scores(self, step: int, elapsed_s: float, values: dict[str, float]) -> None:
        """Write held-out scores."""
        self._write(step, elapsed_s, {name: round(value, 4) for name, value in values.items()})

    def _write(self, step: int, elapsed_s: float, values: dict[str, float]) -> None:
        if not self._active:
            return
        record = {
            "step": step,
            "elapsed_s": round(elapsed_s, 1),
            "cpu_s": round(time.process_time(), 1),
            **values,
        }
        line = json.dumps(record)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        print(line, flush=True)
