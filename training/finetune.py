"""Fine-tuning from end to end: tokenizer, dense pre-training, instruction training."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

from training.dense_stage import CHECKPOINT, train_dense
from training.instruction_stage import (
    MODEL_FOLDER,
    STATE_FILE,
    TOKENIZER_FOLDER,
    begin_from,
    train_instructions,
)
from training.instructions import read_rows
from training.parallel import run_parallel
from training.recipe import Recipe, read_recipe
from training.tokenizer import train_tokenizer

EMBEDDED_RECIPE = Path(__file__).with_name("recipes") / "embedded.toml"
_TOKENIZER_ROWS = 60_000
_CHAT_WORDS = ("user\n", "assistant\n")


def train_model(
    data: Path,
    out: Path,
    recipe_file: Path | None = None,
    *,
    start: Path | None = None,
    held_out: Path | None = None,
    minutes: float | None = None,
    steps: int | None = None,
) -> Path:
    """Train on a folder of instruction data; returns the checkpoint folder `out/model`.

    `start` is the output folder of an earlier run: stage B goes on from there, and stage A is left out.
    `minutes` shares the wall time between the stages as the recipe does; `steps` ends each stage after so many.
    Called again with the same `out`, a run that was killed goes on where it was.

    Raises
    ------
    OtherRun
        `out` holds a run of another model size, seed, number of processes or number of images.
    """
    recipe = read_recipe(recipe_file or EMBEDDED_RECIPE)
    if minutes is not None:
        recipe = within(recipe, minutes)
    if steps is not None:
        recipe = after_steps(recipe, steps)
    out.mkdir(parents=True, exist_ok=True)
    if start is None:
        if not (out / TOKENIZER_FOLDER).exists():
            _train_tokenizer(data, recipe, out / TOKENIZER_FOLDER)
        if not (out / CHECKPOINT).exists():
            run_parallel(train_dense, recipe.processes, recipe, data, held_out, out)
    elif not (out / STATE_FILE).exists():
        begin_from(start, out)
    run_parallel(train_instructions, recipe.processes, recipe, data, out / TOKENIZER_FOLDER, out)
    return out / MODEL_FOLDER


def _train_tokenizer(data: Path, recipe: Recipe, folder: Path) -> None:
    part = folder.with_name(f"{folder.name}.part")
    train_tokenizer(_texts(data), recipe.model.vocabulary).save_pretrained(part)
    part.rename(folder)


def after_steps(recipe: Recipe, steps: int) -> Recipe:
    """The recipe with each stage ended after so many steps."""
    return dataclasses.replace(
        recipe,
        dense=dataclasses.replace(recipe.dense, steps=steps),
        instruction=dataclasses.replace(recipe.instruction, steps=steps),
    )


def within(recipe: Recipe, minutes: float) -> Recipe:
    """The recipe with both stages scaled to a total wall time."""
    factor = minutes / (recipe.dense.minutes + recipe.instruction.minutes)
    return dataclasses.replace(
        recipe,
        dense=dataclasses.replace(recipe.dense, minutes=recipe.dense.minutes * factor, steps=0),
        instruction=dataclasses.replace(
            recipe.instruction, minutes=recipe.instruction.minutes * factor, steps=0
        ),
    )


def _texts(data: Path) -> list[str]:
    rows = itertools.islice(read_rows(data), _TOKENIZER_ROWS)
    return [text for row in rows for turn in row.turns for text in (*turn, *_CHAT_WORDS)]
