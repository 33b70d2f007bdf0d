"""`train evaluate` and `train manifest`: a model's metrics, on phantoms or on the public data sets."""

from __future__ import annotations

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress

from service.cli import writing
from service.cli.common import JsonOption, print_json, print_table
from service.cli.instructions import archives, counting
from service.cli.writing import AgreementOption, KeyOption

if TYPE_CHECKING:
    from training.evaluation import Answerer
    from training.written import Author

_URL = ("http://", "https://")


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
        str,
        typer.Option(
            help="`embedded`, an ONNX package, a checkpoint folder, or an OpenAI-compatible server's URL."
        ),
    ] = "embedded",
    served_name: Annotated[
        str | None, typer.Option(help="What the server of --model knows the model by; default: its only one.")
    ] = None,
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
        Path | None,
        typer.Option(file_okay=False, help="Folder for tables and pictures; radvlm: for answers too."),
    ] = None,
    weights_dir: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="radvlm: model cache of the learned report metrics."),
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option(metavar="URL", help="radvlm: OpenAI-compatible server that judges conversations."),
    ] = None,
    judge_name: Annotated[
        str, typer.Option(help="radvlm: what that server knows the language model by.")
    ] = "",
    key_env: KeyOption = None,
    agreement_allows: AgreementOption = False,
    as_json: JsonOption = False,
) -> None:
    """Print the metrics of a model, with the best constant answers beside them."""
    if suite is Suite.PHANTOM:
        if model.startswith(_URL):
            raise typer.BadParameter(
                "--suite phantom needs a model of this machine; a server answers --suite radvlm"
            )
        _on_phantoms(model, n, seed, size, processes, out, as_json)
        return
    if manifest is None or image_root is None or out is None:
        raise typer.BadParameter("--suite radvlm needs --manifest, --image-root and --out")
    author_of_judgements = (
        writing.author(judge, judge_name, key_env, agreed=agreement_allows) if judge else None
    )
    answerer = _answerer(model, served_name)
    _on_manifest(model, answerer, manifest, image_root, out, weights_dir, author_of_judgements, as_json)


def _on_phantoms(
    model: str, n: int, seed: int, size: int, processes: int, out: Path | None, as_json: bool
) -> None:
    from training.evaluation.table import evaluate_model, markdown, rows_of_table

    with Progress(transient=True, disable=as_json) as progress:
        task = progress.add_task("phantoms", total=n)
        result: dict[str, Any] = evaluate_model(
            model, count=n, first_seed=seed, size_px=size, processes=processes,
            progress=lambda done: progress.update(task, completed=done),
        )  # fmt: skip
    if out is not None:
        from training.evaluation.plots import write_plots  # matplotlib is in the extra

        pictures = write_plots({"phantoms": result["classification"]}, out)
        command = f"raddraft train evaluate --suite phantom --model {model} --n {n} --seed {seed} --out ..."
        (out / "metrics.json").write_text(json.dumps(result, indent=2), encoding="utf-8")
        (out / "metrics.md").write_text(markdown(result, command), encoding="utf-8")
        typer.echo(f"metrics.json, metrics.md and {len(pictures)} pictures in {out}", err=True)
    if as_json:
        print_json(result)
    else:
        print_table(
            ("metric", "model", "floor", "best constant answer"),
            rows_of_table(result),
            title=f"phantom suite, n={n}",
        )


def _answerer(model: str, served_name: str | None) -> Answerer:
    from training.evaluation.table import open_answerer

    if not model.startswith(_URL):
        return open_answerer(model)
    from service.model_server import HttpChatTransport
    from training.evaluation.served_answerer import ServedAnswerer

    transport = HttpChatTransport(model)
    names = [str(entry["id"]) for entry in transport.models()]
    if served_name is None and len(names) == 1:
        served_name = names[0]
    if served_name not in names:
        raise typer.BadParameter(f"--served-name is one of {', '.join(names)}")
    return ServedAnswerer(transport, served_name)


def _on_manifest(
    model: str,
    answerer: Answerer,
    manifest: Path,
    image_root: Path,
    out: Path,
    weights_dir: Path | None,
    author_of_judgements: Author | None,
    as_json: bool,
) -> None:
    from training.evaluation.judge import judge_conversations
    from training.evaluation.manifest import read_manifest
    from training.evaluation.plots import write_plots
    from training.evaluation.radvlm_report import markdown
    from training.evaluation.radvlm_suite import score_manifest
    from training.evaluation.runner import probabilities_of, run_manifest

    with Progress(transient=True, disable=as_json) as progress:
        try:
            read = read_manifest(manifest)
            task = progress.add_task("questions", total=len(read.items))
            answers = run_manifest(
                read, answerer, out / "answers.jsonl", image_root=image_root, model=model,
                progress=lambda done: progress.update(task, completed=done),
            )  # fmt: skip
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
    result = score_manifest(
        read, answers, model=model, weights_dir=weights_dir,
        probabilities=probabilities_of(out / "answers.jsonl"),
    )  # fmt: skip
    if author_of_judgements is not None:
        judgement, texts = judge_conversations(read.items, answers, author_of_judgements)
        result["conversation"] = asdict(judgement)
        (out / "judgements.json").write_text(json.dumps(texts, indent=1), encoding="utf-8")
    (out / "metrics.json").write_text(json.dumps(result, indent=2), encoding="utf-8")
    (out / "metrics.md").write_text(markdown(result), encoding="utf-8")
    write_plots(result["groups"], out)
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
