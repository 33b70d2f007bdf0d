"""`train evaluate` and `train manifest`: a model's metrics, on phantoms or on the public data sets."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress

from service.cli.common import JsonOption, print_json, print_table
from service.cli.instructions import archives, counting


class Suite(StrEnum):
    """What to evaluate on."""

    PHANTOM = "phantom"
    RADVLM = "radvlm"


def register(app: typer.Typer) -> None:
    """Add the commands to `raddraft train`."""
    app.command()(evaluate)
    app.command()(manifest)


def evaluate(
    suite: Annotated[Suite, typer.Option(help="What to evaluate on.")] = Suite.PHANTOM,
    model: Annotated[
        str, typer.Option(help="`embedded`, an ONNX package, or a checkpoint folder.")
    ] = "embedded",
    n: Annotated[int, typer.Option("--n", min=1, help="phantom: how many phantoms.")] = 500,
    seed: Annotated[
        int, typer.Option(help="phantom: seed of the first one (training used seeds below 1,000,000).")
    ] = 5_000_000,
    size: Annotated[int, typer.Option(min=32, max=4096, help="phantom: width and height.")] = 160,
    processes: Annotated[int, typer.Option(min=1, help="phantom: processes to ask with.")] = 1,
    manifest: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="radvlm: file of `train manifest`.")
    ] = None,
    image_root: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="radvlm: folder the images lie below.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(file_okay=False, help="radvlm: folder for answers, tables and pictures.")
    ] = None,
    weights_dir: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="radvlm: model cache of the learned report metrics."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print the metrics of a model, with the best constant answers beside them."""
    if suite is Suite.PHANTOM:
        _on_phantoms(model, n, seed, size, processes, as_json)
        return
    if manifest is None or image_root is None or out is None:
        raise typer.BadParameter("--suite radvlm needs --manifest, --image-root and --out")
    _on_manifest(model, manifest, image_root, out, weights_dir, as_json)


def _on_phantoms(model: str, n: int, seed: int, size: int, processes: int, as_json: bool) -> None:
    from training.evaluation.table import evaluate_model, rows_of_table

    with Progress(transient=True, disable=as_json) as progress:
        task = progress.add_task("phantoms", total=n)
        result: dict[str, Any] = evaluate_model(
            model, count=n, first_seed=seed, size_px=size, processes=processes,
            progress=lambda done: progress.update(task, completed=done),
        )  # fmt: skip
    if as_json:
        print_json(result)
    else:
        print_table(
            ("metric", "model", "floor", "best constant answer"),
            rows_of_table(result),
            title=f"phantom suite, n={n}",
        )


def _on_manifest(
    model: str, manifest: Path, image_root: Path, out: Path, weights_dir: Path | None, as_json: bool
) -> None:
    from training.evaluation.manifest import read_manifest
    from training.evaluation.radvlm_report import markdown, write_plots
    from training.evaluation.radvlm_suite import score_manifest
    from training.evaluation.runner import run_manifest
    from training.evaluation.table import open_answerer

    with Progress(transient=True, disable=as_json) as progress:
        try:
            read = read_manifest(manifest)
            task = progress.add_task("questions", total=len(read.items))
            answers = run_manifest(
                read, open_answerer(model), out / "answers.jsonl", image_root=image_root, model=model,
                progress=lambda done: progress.update(task, completed=done),
            )  # fmt: skip
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
    result = score_manifest(read, answers, model=model, weights_dir=weights_dir)
    (out / "metrics.json").write_text(json.dumps(result, indent=2), encoding="utf-8")
    (out / "metrics.md").write_text(markdown(result), encoding="utf-8")
    write_plots(result, out)
    if as_json:
        print_json(result)
    else:
        typer.echo(markdown(result))


def manifest(
    out: Annotated[Path, typer.Option("--out", dir_okay=False, help="JSONL file to write.")],
    image_root: Annotated[
        Path, typer.Option(exists=True, file_okay=False, help="Folder that every archive lies below.")
    ],
    archive: Annotated[
        list[str],
        typer.Option(
            metavar="NAME=FOLDER", help="A data set and where it lies, as for `train instructions`."
        ),
    ],
    seed: Annotated[int, typer.Option(help="Draws samples, regions and wordings.")] = 0,
    paraphrased: Annotated[
        float, typer.Option(min=0, max=1, help="Share of questions in other than canonical words.")
    ] = 0.0,
) -> None:
    """Freeze the RadVLM suite: every question, its image's hash and its truth, in one file."""
    from training.datasets.catalogue import PARTS
    from training.datasets.folders import MissingData
    from training.evaluation.manifest import build_manifest

    with counting(quiet=False) as progress:
        line = progress.add_task("reading", total=None)
        try:
            frozen = build_manifest(
                PARTS, archives(archive), out, image_root=image_root, seed=seed, paraphrased_share=paraphrased,
                progress=lambda name, count: progress.update(line, description=f"{name}: {count:,}"),
            )  # fmt: skip
        except (MissingData, ValueError) as error:
            raise typer.BadParameter(str(error)) from None
    typer.echo(f"{len(frozen.items):,} questions in {out}, SHA-256 {frozen.sha256}")
