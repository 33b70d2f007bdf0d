"""`train filter-reports` and `train write-conversations`: texts that a language model of the site's choice writes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.instructions import archives, counting

if TYPE_CHECKING:
    from training.written import Author

_AGREEMENT = (
    "the reports of these data sets may be sent to a language model only where their data use agreement allows it "
    "(PhysioNet: approved services, or a server of your own); say so with --agreement-allows"
)
EndpointOption = Annotated[str, typer.Option(help="OpenAI-compatible server, e.g. http://127.0.0.1:8000/v1.")]
NameOption = Annotated[str, typer.Option("--name", help="What the server knows the language model by.")]
KeyOption = Annotated[
    str | None, typer.Option(metavar="VARIABLE", help="Environment variable that holds the server's key.")
]
AgreementOption = Annotated[
    bool, typer.Option("--agreement-allows", help="The data use agreement allows sending reports there.")
]
_Archive = Annotated[list[str], typer.Option(metavar="NAME=FOLDER", help="A data set and where it lies.")]
_Out = Annotated[Path, typer.Option("--out", file_okay=False, help="Folder to write to.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `raddraft train`."""
    app.command("filter-reports")(filter_reports)
    app.command("write-conversations")(write_conversations)


def author(endpoint: str, name: str, key_env: str | None, *, agreed: bool) -> Author:
    """A language model to write with; raises BadParameter unless the site says that it may be used."""
    from service.model_server import HttpChatTransport
    from training.written import Author

    if not agreed:
        raise typer.BadParameter(_AGREEMENT)
    if key_env is not None and key_env not in os.environ:
        raise typer.BadParameter(f"--key-env {key_env}: there is no such environment variable")
    key = os.environ[key_env] if key_env else None
    return Author(HttpChatTransport(endpoint, api_key=key), name)


def filter_reports(
    archive: _Archive,
    out: _Out,
    endpoint: EndpointOption,
    name: NameOption,
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "train",
    key_env: KeyOption = None,
    agreement_allows: AgreementOption = False,
    radvlm_compat: Annotated[
        bool,
        typer.Option("--radvlm-compat", help="Drop a report wherever the answer has the word None in it."),
    ] = False,
) -> None:
    """Rewrite reports without comparisons and history; a run that was stopped goes on where it was."""
    from training.datasets import chexpert, mimic
    from training.datasets.catalogue import Root
    from training.written import report_filter

    roots = archives(archive)
    sources = {Root.MIMIC: mimic.unfiltered_reports, Root.CHEXPERT_PLUS: chexpert.plus_unfiltered}
    if len(roots) != 1 or next(iter(roots)) not in sources:
        raise typer.BadParameter("--archive names one of mimic and chexpert-plus")
    ((root, folder),) = roots.items()
    writer = author(endpoint, name, key_env, agreed=agreement_allows)
    with counting(quiet=False) as progress:
        line = progress.add_task("reports", total=None)
        done = report_filter.filter_reports(
            sources[root](folder, split), writer, out, radvlm_compat=radvlm_compat,
            progress=lambda count: progress.update(line, description=f"{count:,} reports"),
        )  # fmt: skip
    typer.echo(f"{done.written} written, {done.dropped} dropped, {done.done_before} done before, in {out}")


def write_conversations(
    archive: _Archive,
    out: _Out,
    endpoint: EndpointOption,
    name: NameOption,
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "train",
    key_env: KeyOption = None,
    agreement_allows: AgreementOption = False,
) -> None:
    """Write conversations: plain with --archive mimic, grounded with ms-cxr and mimic, or with padchest."""
    from training.datasets.catalogue import Root
    from training.written import conversations, subjects

    roots = archives(archive)
    if set(roots) == {Root.MIMIC}:
        about = subjects.of_mimic(roots[Root.MIMIC], split)
    elif set(roots) == {Root.MIMIC, Root.MS_CXR}:
        about = subjects.of_ms_cxr(roots[Root.MS_CXR], roots[Root.MIMIC], split)
    elif set(roots) == {Root.PADCHEST}:
        about = subjects.of_padchest(roots[Root.PADCHEST], split)
    else:
        raise typer.BadParameter("--archive: mimic, or mimic and ms-cxr, or padchest")
    writer = author(endpoint, name, key_env, agreed=agreement_allows)
    with counting(quiet=False) as progress:
        line = progress.add_task("conversations", total=None)
        done = conversations.write_conversations(
            about, writer, out,
            progress=lambda count: progress.update(line, description=f"{count:,} images"),
        )  # fmt: skip
    typer.echo(
        f"{done.written} written, {done.unusable} answers not usable, {done.done_before} done before, in {out}"
    )
