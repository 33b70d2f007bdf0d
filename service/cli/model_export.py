"""`model export` and `model check`: a checkpoint as a package, and whether a package is what it should be."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from service.cli.common import JsonOption, print_json


class Precision(StrEnum):
    """Precision of the decoder's weights."""

    FP32 = "fp32"
    INT8 = "int8"
    INT4 = "int4"


def export(
    checkpoint: Annotated[
        Path, typer.Argument(help="Checkpoint folder of LlavaOnevisionForConditionalGeneration.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Package folder; replaced whole when all is written.")],
    precision: Annotated[
        Precision, typer.Option(help="Of the decoder's weights; the vision tower stays fp32.")
    ] = Precision.FP32,
) -> None:
    """Export a checkpoint as an ONNX package (needs the extra `training`)."""
    from training.export import export_onnx

    if not (checkpoint / "config.json").is_file():
        raise typer.BadParameter(f"{checkpoint} holds no config.json: it is no checkpoint folder")
    try:
        export_onnx(checkpoint, out, precision=precision.value)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    typer.echo(f"written: {out} ({precision.value}); `raddraft model check {out} --checkpoint {checkpoint}`")


def check(
    package: Annotated[str, typer.Argument(help="'embedded' or the folder of a model package.")],
    checkpoint: Annotated[
        Path | None, typer.Option(help="Compare its answers with this checkpoint's (extra `training`).")
    ] = None,
    phantoms: Annotated[int, typer.Option(min=1, help="Images asked about.")] = 10,
    as_json: JsonOption = False,
) -> None:
    """Verify a package's files and, with its checkpoint, its answers; exit status 1 where they differ."""
    from inference import describe_package

    described = describe_package(package)
    if checkpoint is None:
        found: dict[str, object] = {"package": package, "files": "whole"}
        print_json(found) if as_json else typer.echo(f"{package}: every file is what the manifest says")
        return
    from training.export.parity import compare_on_phantoms

    parity = compare_on_phantoms(checkpoint, package, phantoms)
    exact = described["precision"] == Precision.FP32
    if as_json:
        print_json({"package": package, "files": "whole", "exact": exact, **parity.as_json()})
    else:
        typer.echo(f"{package}: every file is what the manifest says; {parity.sentence}")
    # Weights of fewer bits may word an answer differently: the share is printed, a person decides.
    if exact and not parity.holds:
        raise typer.Exit(1)
