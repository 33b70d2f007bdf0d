"""`train phantoms` and `train package`; the other commands of `train` are beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from service.cli import evaluation, finetuning, instructions, writing
from service.cli.common import print_table

app = typer.Typer(no_args_is_help=True)
instructions.register(app)
finetuning.register(app)
evaluation.register(app)
writing.register(app)

_Count = Annotated[int, typer.Option("--n", min=1, help="How many phantoms.")]
_Out = Annotated[Path, typer.Option("--out", file_okay=False, help="Folder to write to.")]
_Processes = Annotated[int, typer.Option("--processes", min=1, help="Processes to render with.")]


@app.command()
def phantoms(
    n: _Count,
    out: _Out,
    seed: Annotated[int, typer.Option(help="Seed of the first phantom.")] = 0,
    size: Annotated[int, typer.Option(min=32, max=4096, help="Width and height in pixels.")] = 160,
    others: Annotated[
        float, typer.Option(min=0, max=1, help="Share of mirrored and lateral views and of what is no chest.")
    ] = 0.0,
    dicom: Annotated[
        bool, typer.Option("--dicom", help="Write DX and CR DICOM files instead of PNG.")
    ] = False,
    processes: _Processes = 1,
) -> None:
    """Write synthetic radiographs (PNG, or DICOM) and their ground truth."""
    from training.phantoms.collection import write_collection, write_dicom_collection

    with Progress(transient=True) as progress:
        task = progress.add_task("phantoms", total=n)
        write = write_dicom_collection if dicom else write_collection
        write(
            out,
            count=n,
            first_seed=seed,
            size_px=size,
            others_share=others,
            processes=processes,
            progress=lambda done: progress.update(task, completed=done),
        )
    typer.echo(f"{n} phantoms in {out}")


@app.command("contact-sheet")
def contact_sheet(
    out: Annotated[Path, typer.Argument(dir_okay=False, help="PNG file to write.")],
    seed: Annotated[int, typer.Option(help="Seed to begin at.")] = 0,
    size: Annotated[int, typer.Option(min=64, max=1024, help="Width and height of one phantom.")] = 170,
) -> None:
    """Write a picture of phantoms that shows every finding, with its boxes."""
    from training.phantoms.sheet import contact_sheet as write_sheet
    from training.phantoms.sheet import telling

    shown = list(telling(seed))
    write_sheet(shown, out, columns=7, size_px=size)
    typer.echo(f"{len(shown)} phantoms in {out}")


@app.command()
def package(
    checkpoint: Annotated[
        Path, typer.Option(exists=True, file_okay=False, help="Folder of `train finetune`.")
    ],
    out: _Out,
    n: Annotated[int, typer.Option("--n", min=50, help="Phantoms to measure on.")] = 500,
    processes: Annotated[int, typer.Option(min=1, help="Processes to ask with.")] = 1,
) -> None:
    """Export a checkpoint as the embedded model: measure it, fit operating points, write its manifest."""
    from training.embedded_package import package_embedded
    from training.evaluation.table import rows_of_table

    result = package_embedded(checkpoint, out, count=n, processes=processes)
    print_table(
        ("metric", "model", "floor", "best constant answer"),
        rows_of_table(result),
        title=f"phantom suite, n={n}",
    )
