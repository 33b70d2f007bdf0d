"""What a transformers trainer tells of a run: the lines of `tuning.jsonl`, and where it stands."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from training.tuning.state import LOG_FILE, STATE_FOLDER, cut_log

_CHECKPOINTS = "checkpoint-*"
_WRITTEN_LAST = "trainer_state.json"


class RunLog(TrainerCallback):
    """Writes a line each step, tells progress, and ends a run early where it is asked to.

    Parameters
    ----------
    names
        Of a line's values, each with the trainer's name for it.
    updates
        Of the weights in a step of the run.
    """

    def __init__(
        self,
        out: Path,
        names: Mapping[str, str],
        *,
        updates: int = 1,
        stop_after: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self._out, self._names, self._updates = out, names, updates
        self._stop_after, self._progress = stop_after, progress

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **told: Any
    ) -> None:
        """One line of the log; the trainer's closing words on the whole run are not one."""
        logs = told["logs"]
        if not state.is_world_process_zero or "loss" not in logs:
            return
        line = {"step": state.global_step // self._updates}
        line |= {name: logs[theirs] for name, theirs in self._names.items()}
        with (self._out / LOG_FILE).open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(line) + "\n")

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Tell progress; stop with a saved state after the step asked for."""
        step, rest = divmod(state.global_step, self._updates)
        if self._progress and not rest:
            self._progress(step, state.max_steps // self._updates)
        if step == self._stop_after and not rest:
            control.should_save = control.should_training_stop = True


def last_saved(out: Path) -> Path | None:
    """The newest state that was saved whole, if there is one."""
    whole = []
    for folder in (out / STATE_FOLDER).glob(_CHECKPOINTS):
        try:
            state = json.loads((folder / _WRITTEN_LAST).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue  # killed while it was saved
        whole.append((int(state["global_step"]), folder))
    return max(whole)[1] if whole else None


def begin_log(out: Path, saved: Path | None, updates: int = 1) -> None:
    """The log as it was when the state was saved; empty without one."""
    out.mkdir(parents=True, exist_ok=True)
    cut_log(out, int(saved.name.rpartition("-")[2]) // updates if saved else 0)
