"""`train finetune`: the embedded model from the beginning, or a checkpoint folder further; `train grpo`: by rewards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress


def register(app: typer.Typer) -> None:
    """Add the commands to `raddraft train`."""
    app.command()(finetune)
    app.command()(grpo)
    app.command("llama-factory")(llama_factory)


_Data = Annotated[Path, typer.Option(exists=True, file_okay=False, help="Folder of `train instructions`.")]
_ImageRoot = Annotated[
    Path | None,
    typer.Option(
        exists=True, file_okay=False, help="Folder that image paths are relative to; default: --data."
    ),
]


@contextmanager
def _extra(name: str) -> Iterator[None]:
    """Around an import that needs an extra: one line instead of a traceback where it is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        missing = str(error.name).partition(".")[0]
        raise typer.BadParameter(f"{missing} is missing: pip install 'raddraft[{name}]'") from None


def _needs_rows(data: Path) -> None:
    from training.instructions.row import ROWS_FILE

    if not (data / ROWS_FILE).is_file():
        raise typer.BadParameter(f"{data} has no {ROWS_FILE}: write it with `raddraft train instructions`")


def finetune(
    data: _Data,
    out: Annotated[Path, typer.Option("--out", file_okay=False, help="Folder to write to.")],
    recipe: Annotated[
        Path | None,
        typer.Option("--config", exists=True, dir_okay=False, help="Recipe (TOML); the default is shipped."),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            exists=True, file_okay=False, help="Checkpoint folder to train further, RadVLM's or another's."
        ),
    ] = None,
    image_root: _ImageRoot = None,
    start: Annotated[
        Path | None,
        typer.Option(
            exists=True, file_okay=False, help="Embedded model: earlier --out folder to go on from."
        ),
    ] = None,
    held_out: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Embedded model: phantoms to score stage A on."),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.05, help="Embedded model: wall time for both stages.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Embedded model: steps of each stage instead of minutes.")
    ] = None,
) -> None:
    """Train on instruction data; a run that was stopped goes on where it was (needs torch)."""
    _needs_rows(data)
    if checkpoint is not None:
        _tune(checkpoint, data, image_root or data, out, recipe)
        return
    from training.finetune import train_model
    from training.phantoms.collection import TRUTH_FILE, OtherEdition, read_collection
    from training.run_state import OtherRun

    if not (data / TRUTH_FILE).is_file():
        raise typer.BadParameter(
            f"{data} has no {TRUTH_FILE}: the embedded model learns from phantoms (`raddraft train phantoms`); "
            "--checkpoint names another model to train further"
        )
    try:
        next(read_collection(data), None)
        trained = train_model(data, out, recipe, start=start, held_out=held_out, minutes=minutes, steps=steps)
    except (OtherEdition, OtherRun) as error:
        raise typer.BadParameter(str(error)) from None
    typer.echo(f"checkpoint in {trained}")


def _tune(checkpoint: Path, data: Path, image_root: Path, out: Path, recipe: Path | None) -> None:
    from training.instructions import read_rows
    from training.tuning import TuningPlan, read_plan

    with _extra("sft"):
        from training.tuning.supervised import tune
    try:
        plan = read_plan(recipe) if recipe else TuningPlan()
    except (TypeError, ValueError) as error:
        raise typer.BadParameter(f"{recipe}: {error}") from None
    with Progress(transient=True) as progress:
        line = progress.add_task("steps", total=None)
        try:
            trained = tune(
                checkpoint, list(read_rows(data)), image_root, out, plan,
                progress=lambda done, total: progress.update(line, completed=done, total=total),
            )  # fmt: skip
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
    typer.echo(f"checkpoint in {trained}")


def grpo(
    checkpoint: Annotated[
        Path, typer.Option(exists=True, file_okay=False, help="Checkpoint folder to start from.")
    ],
    data: _Data,
    out: Annotated[Path, typer.Option("--out", file_okay=False, help="Folder to write to.")],
    config: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Plan (TOML); default: RadVLM-GRPO's numbers."),
    ] = None,
    image_root: _ImageRoot = None,
) -> None:
    """Train on rewards: GLEU of reports, soft F1 of boxes; a run that was stopped goes on."""
    from training.instructions import read_rows
    from training.tuning.grpo_plan import GrpoPlan, read_grpo_plan

    with _extra("grpo"):
        from training.tuning.grpo import reinforce
    _needs_rows(data)
    try:
        plan = read_grpo_plan(config) if config else GrpoPlan()
    except (TypeError, ValueError) as error:
        raise typer.BadParameter(f"{config}: {error}") from None
    with Progress(transient=True) as progress:
        line = progress.add_task("steps", total=plan.steps)
        try:
            trained = reinforce(
                checkpoint, list(read_rows(data)), image_root or data, out, plan,
                progress=lambda done, total: progress.update(line, completed=done, total=total),
            )  # fmt: skip
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
    typer.echo(f"checkpoint in {trained}")


def llama_factory(
    checkpoint: Annotated[Path, typer.Option(exists=True, file_okay=False, help="Checkpoint folder.")],
    data: _Data,
    out: Annotated[Path, typer.Option("--out", file_okay=False, help="Folder to write to.")],
    recipe: Annotated[
        Path | None, typer.Option("--config", exists=True, dir_okay=False, help="Plan (TOML).")
    ] = None,
    image_root: _ImageRoot = None,
) -> None:
    """Write the same run as configuration for LLaMA-Factory."""
    from training.tuning import TuningPlan, read_plan
    from training.tuning.llama_factory import write_llama_factory

    plan = read_plan(recipe) if recipe else TuningPlan()
    for written in write_llama_factory(checkpoint, data, image_root or data, out, plan):
        typer.echo(str(written))
