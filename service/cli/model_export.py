"""`model export` and `model check`: a checkpoint as a package, and whether a package is what it should be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clinical import ComputeDevice, Precision
from service.cli.common import JsonOption, print_json, say_step

if TYPE_CHECKING:
    from inference import KnownImage
    from inference.golden import Golden


def export(
    checkpoint: Annotated[
        Path, typer.Argument(help="Checkpoint folder of LlavaOnevisionForConditionalGeneration.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Package folder; replaced whole when all is written.")],
    precision: Annotated[Precision, typer.Option(help="Of the decoder's weights.")] = Precision.FP32,
    device: Annotated[
        ComputeDevice, typer.Option(help="For the CPU the vision tower stays fp32; bf16 is for CUDA only.")
    ] = ComputeDevice.CPU,
    vision: Annotated[
        Precision | None,
        typer.Option(help="Of the vision tower; int8 is for the CPU beside an int8 or int4 decoder."),
    ] = None,
    description: Annotated[
        Path | None, typer.Option(help="JSON file: name, version, labels, statement, licence, ...")
    ] = None,
    known_images: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="Labels of images for the model's trial, as for `model known-images`; the images lie beside it.",
        ),
    ] = None,
) -> None:
    """Export a checkpoint as an ONNX package (needs the extra `training`)."""
    from training.export import export_onnx

    try:
        described = _described(description)
        export_onnx(
            checkpoint,
            out,
            description=described,
            known_images=_known_images(known_images, described) if known_images else (),
            precision=precision.value,
            device=device.value,
            vision=vision.value if vision else None,
            progress=say_step,
        )
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    typer.echo(f"written: {out} ({precision.value}); `raddraft model check {out} --checkpoint {checkpoint}`")


def _described(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds no JSON object")
    return found


def _known_images(labels: Path, described: dict[str, Any]) -> tuple[KnownImage, ...]:
    from imaging import Flavour
    from service.reading_worker import decode_limits
    from service.settings import Settings
    from service.trial_clock import site_known_images

    flavour = Flavour(described.get("display", Flavour.CLINICAL))
    return site_known_images(labels, decode_limits(Settings()), flavour)


def check(
    package: Annotated[str, typer.Argument(help="'embedded' or the folder of a model package.")],
    checkpoint: Annotated[
        Path | None, typer.Option(help="Compare its answers with this checkpoint's (extra `training`).")
    ] = None,
    phantoms: Annotated[int, typer.Option(min=1, help="Images the checkpoint is asked about.")] = 10,
    keep: Annotated[
        bool, typer.Option(help="Keep the checkpoint's answers in the package, for checks without it.")
    ] = False,
    provider: Annotated[
        list[str] | None, typer.Option(help="Execution provider, most wanted first: tensorrt, cuda, cpu.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Verify a package's files and its answers; exit status 1 where they are not what they should be.

    Its answers are compared with those of its checkpoint, or with those kept in the package. Greedy tokens must be
    equal in fp32; other precisions have tolerances.
    """
    from inference import describe_package, load_model
    from inference.golden import compare, load_golden

    if keep and checkpoint is None:
        raise typer.BadParameter("--keep keeps a checkpoint's answers: name it with --checkpoint")
    describe_package(package)
    found: dict[str, object] = {"package": package, "files": "whole"}
    sentence = "no answers are kept in it; name its --checkpoint to compare them"
    golden = load_golden(package) if checkpoint is None else _golden(checkpoint, package, phantoms)
    holds = True
    if golden is not None:
        model = load_model(package, providers=tuple(provider or ("cpu",)))
        try:
            parity = compare(golden, model)
        finally:
            model.close()
        holds, sentence = parity.holds, parity.sentence
        found |= {**parity.as_json(), "engine": model.identity.engine}
        if keep and holds:
            golden.save(Path(package))
    print_json(found) if as_json else typer.echo(
        f"{package}: every file is what the manifest says; {sentence}"
    )
    if not holds:
        raise typer.Exit(1)


def _golden(checkpoint: Path, package: str, phantoms: int) -> Golden:
    from training.export.parity import golden_of

    try:
        return golden_of(checkpoint, package, phantoms, progress=say_step)
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
