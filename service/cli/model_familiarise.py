"""`model familiarise`: which images a model knows, fitted on a site's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from service.cli.common import ConfigOption, JsonOption, print_json
from service.settings import load_settings


def familiarise(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="DICOM files or folders: frontal chest radiographs, and laterals for the view's check."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="File to write; `model.familiarity` then names it.")],
    source: Annotated[
        str, typer.Option(help="What the images are, in words a reader of a result understands.")
    ] = "site images",
    model: Annotated[str | None, typer.Option(help="Package; default: the configured one.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Describe the images a model is meant for by its vision features, so that others are marked."""
    from inference import FEWEST_LATERALS, load_model
    from service.analysis import dicom_files
    from service.familiarising import familiarised
    from service.reading_worker import decode_limits, site_model

    settings = load_settings(config)
    files = list(dicom_files(paths))
    served = load_model(model) if model else site_model(settings)
    try:
        with Progress(transient=True) as progress:
            task = progress.add_task("images", total=len(files))
            result = familiarised(
                served, files, source, decode_limits(settings), progress=lambda: progress.advance(task)
            )
    finally:
        served.close()
    sha256 = result.write(out)
    told = result.as_json()
    if as_json:
        print_json({"file": str(out), "sha256": sha256, **told})
        return
    typer.echo(f"{told['images']} frontal chest radiographs; {told['left_out']} files were left out")
    view = told["view"]
    if view is None:
        typer.echo(
            f"no check of the view: it needs {FEWEST_LATERALS} lateral images that say so in their header"
        )
    else:
        typer.echo(
            f"view: {view['laterals']} lateral images, {view['missed']:.1%} of them taken for frontal, "
            f"{view['mistaken']:.1%} of the frontal ones for lateral (cross-fitted)"
        )
    typer.echo(f"written: {out} (SHA-256 {sha256[:16]}); set model.familiarity to use it")
