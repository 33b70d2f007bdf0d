"""`model`: what is installed, what it knows, how it was made and how fast it is."""

from __future__ import annotations

from typing import Annotated

import typer

from service.cli import (
    model_bench,
    model_calibrate,
    model_compare,
    model_describe,
    model_export,
    model_familiarise,
    model_known_images,
    model_trial,
    model_use,
)
from service.cli.common import JsonOption, print_json, print_table

app = typer.Typer(no_args_is_help=True)
app.command()(model_bench.bench)
app.command()(model_calibrate.calibrate)
app.command()(model_compare.compare)
app.command()(model_describe.describe)
app.command()(model_familiarise.familiarise)
app.command()(model_export.check)
app.command()(model_export.export)
app.command(name="known-images")(model_known_images.known_images)
app.command()(model_trial.trial)
app.command()(model_use.use)
app.command(name="list")(model_use.packages)


@app.command()
def info(
    path: Annotated[str, typer.Argument(help="'embedded' or the folder of a model package.")] = "embedded",
    as_json: JsonOption = False,
) -> None:
    """Describe a model package and verify its files; exit status 1 if one is damaged."""
    from inference import describe_package

    description = describe_package(path)
    if as_json:
        print_json(description)
    else:
        print_table(["", path], [[key, value] for key, value in description.items()])
