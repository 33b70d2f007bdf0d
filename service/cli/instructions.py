"""`train instructions`, `train convert`, `train images`: RadVLM's data, its two forms and its pictures."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from service.cli.common import JsonOption, print_json, print_table

if TYPE_CHECKING:
    from training.datasets.catalogue import Roots


class Source(StrEnum):
    """Where instruction data comes from."""

    PHANTOM = "phantom"
    RADVLM = "radvlm"


class Form(StrEnum):
    """How a conversation is written."""

    LLAVA = "llava"
    MESSAGES = "messages"


def register(app: typer.Typer) -> None:
    """Add the commands to `raddraft train`."""
    app.command()(instructions)
    app.command()(convert)
    app.command()(images)


def instructions(
    source: Annotated[
        Source, typer.Option(help="phantom: drawn here; radvlm: the public data sets, from --archive.")
    ],
    out: Annotated[Path, typer.Option("--out", file_okay=False, help="Folder to write to.")],
    n: Annotated[int | None, typer.Option("--n", min=1, help="phantom: how many.")] = None,
    seed: Annotated[
        int, typer.Option(help="phantom: seed of the first one; radvlm: decides the wording.")
    ] = 0,
    size: Annotated[int, typer.Option(min=32, max=4096, help="phantom: width and height in pixels.")] = 160,
    processes: Annotated[int, typer.Option(min=1, help="phantom: processes to render with.")] = 1,
    archive: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FOLDER",
            help="radvlm: a data set and where it lies; once for each of mimic, chexpert, chexpert-plus, "
            "imagenome, ms-cxr, vindr, padchest. What is not given is left out.",
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="radvlm: train, valid or test.")] = "train",
    image_root: Annotated[
        Path | None, typer.Option(help="radvlm: write image paths relative to this folder.")
    ] = None,
    paraphrased: Annotated[
        float, typer.Option(min=0, max=1, help="radvlm: share of questions in other than canonical words.")
    ] = 0.5,
    radvlm_compat: Annotated[
        bool, typer.Option("--radvlm-compat", help="radvlm: take 1024 x 1024 for a VinDr image of lost size.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write RadVLM instruction data (LLaVA JSON lines); a run that was stopped goes on where it was."""
    if source is Source.PHANTOM:
        if n is None:
            raise typer.BadParameter("--source phantom needs --n, how many phantoms to draw")
        _from_phantoms(n, out, seed, size, processes)
        return
    from training.datasets.catalogue import PARTS
    from training.instructions.build import OtherSettings, Settings, build_instructions

    if split not in ("train", "valid", "test"):
        raise typer.BadParameter(f"--split {split}: train, valid or test")
    settings = Settings(archives(archive or []), split, image_root, seed, paraphrased, radvlm_compat)
    with counting(quiet=as_json) as progress:
        line = progress.add_task("reading", total=None)
        try:
            counted = build_instructions(
                PARTS, settings, out,
                progress=lambda name, rows: progress.update(line, description=f"{name}: {rows:,} rows"),
            )  # fmt: skip
        except OtherSettings as error:
            raise typer.BadParameter(str(error)) from None
    rows = [
        {
            "part": one.part.name, "task": one.part.task.value, "source": one.part.source,
            "published": one.published, "found": one.found, "note": one.note,
        }
        for one in counted
    ]  # fmt: skip
    if as_json:
        print_json(rows)
        return
    print_table(
        ("part", "task", "data set", "published", "found", ""),
        [
            (
                row["part"], row["task"], row["source"], _number(row["published"]), _number(row["found"]),
                row["note"],
            )
            for row in rows
        ],
        title=f"{sum(one.found for one in counted):,} rows in {out / 'instructions.jsonl'}",
    )  # fmt: skip


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else "-"


def archives(given: list[str]) -> Roots:
    """Data sets of `NAME=FOLDER` options; raises BadParameter for an unknown name or a missing folder."""
    from training.datasets.catalogue import Root

    roots: Roots = {}
    for text in given:
        name, _, folder = text.partition("=")
        if name not in set(Root):
            raise typer.BadParameter(f"--archive {text}: NAME is one of {', '.join(Root)}")
        if not Path(folder).is_dir():
            raise typer.BadParameter(f"--archive {text}: there is no such folder")
        roots[Root(name)] = Path(folder)
    if not roots:
        raise typer.BadParameter("--source radvlm needs --archive NAME=FOLDER at least once")
    return roots


def counting(*, quiet: bool) -> Progress:
    """Progress whose end is not known beforehand."""
    return Progress(
        SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), transient=True, disable=quiet
    )


def _from_phantoms(n: int, out: Path, seed: int, size: int, processes: int) -> None:
    from training.instructions import write_rows
    from training.phantoms.collection import write_collection

    with Progress(transient=True) as progress:
        task = progress.add_task("phantoms", total=n)
        write_collection(
            out, count=n, first_seed=seed, size_px=size, processes=processes,
            progress=lambda done: progress.update(task, completed=done),
        )  # fmt: skip
    typer.echo(f"{n} phantoms in {out}")
    typer.echo(f"{write_rows(out)} rows in {out / 'instructions.jsonl'}")


def convert(
    source: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="JSONL file to read.")],
    target: Annotated[Path, typer.Argument(dir_okay=False, help="JSONL file to write.")],
    to: Annotated[Form, typer.Option(help="messages: Hugging Face chat; llava: RadVLM's form.")],
) -> None:
    """Convert instruction data between LLaVA JSON lines and Hugging Face messages, without loss."""
    from training.instructions.messages import to_llava, to_messages
    from training.instructions.row import line_of

    change = to_messages if to is Form.MESSAGES else to_llava
    count = 0
    fresh = target.with_name(target.name + ".part")
    with source.open(encoding="utf-8") as lines, fresh.open("w", encoding="utf-8") as written:
        for count, line in enumerate(lines, start=1):
            try:
                written.write(line_of(change(json.loads(line))))
            except ValueError as error:
                fresh.unlink()
                raise typer.BadParameter(f"{source}, line {count}: {error}") from None
    fresh.replace(target)
    typer.echo(f"{count} rows in {target}")


def images(
    root: Annotated[
        Path, typer.Argument(exists=True, file_okay=False, help="VinDr-CXR, with train/ or test/ in it.")
    ],
    split: Annotated[str, typer.Option(help="train or test.")],
    longest_side: Annotated[int, typer.Option(min=64, help="Pixels of the longer side.")] = 1024,
    radvlm_compat: Annotated[
        bool,
        typer.Option("--radvlm-compat", help="As RadVLM rendered them, defects included; for its test set."),
    ] = False,
) -> None:
    """Render VinDr-CXR's DICOM files as JPEG; a run that was stopped goes on where it was."""
    from training.datasets.vindr_images import convert_images

    if not (root / split).is_dir():
        raise typer.BadParameter(f"{root / split} is missing; --split is train or test")
    with Progress(transient=True) as progress:
        task = progress.add_task("images", total=None)
        rendered = convert_images(
            root, split, longest_side_px=longest_side, radvlm_compat=radvlm_compat,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )  # fmt: skip
    typer.echo(f"{rendered} images rendered in {root / f'{split}_jpg'}")
