"""Names of what a run writes, and its log up to the state it goes on from."""

from __future__ import annotations

import json
from pathlib import Path

MODEL_FOLDER = "model"
STATE_FOLDER = "state"
LOG_FILE = "tuning.jsonl"


def cut_log(out: Path, step: int) -> None:
    """Leave the log's whole lines up to a step; what was written after the state was saved is written again."""
    if not step or not (out / LOG_FILE).exists():
        (out / LOG_FILE).unlink(missing_ok=True)
        return
    lines = (out / LOG_FILE).read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
    (out / LOG_FILE).write_text("".join(kept), encoding="utf-8")
