"""`model describe`: the description of a checkpoint that another server runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def describe(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint folder that the server runs.")],
    out: Annotated[Path, typer.Option("--out", help="Folder that gets the manifest; then model.path.")],
    name: Annotated[str, typer.Option(help="Name of the model on every result.")],
    version: Annotated[str, typer.Option(help="Its version on every result.")],
) -> None:
    """Hash a checkpoint's weights and write what results will say of it; for model.backend = "openai"."""
    from inference import describe_checkpoint

    with Console(stderr=True).status("hashing") as status:
        describe_checkpoint(
            checkpoint,
            out,
            name=name,
            version=version,
            progress=lambda file: status.update(f"hashing {file}"),
        )
    typer.echo(f"{out}: edit labels, tasks and statement in manifest.json to what was measured")
