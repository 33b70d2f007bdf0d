"""`analyze`: files in, results out, without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from service.cli.common import ConfigOption, JsonOption, print_json, print_table
from service.settings import load_settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(analyze)


def analyze(
    paths: Annotated[list[Path], typer.Argument(help="DICOM files and folders.")],
    out: Annotated[Path, typer.Option("--out", help="Folder that gets one sub-folder per study.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read DICOM files and write every face of every result; no network is used."""
    settings = load_settings(config)
    from service.analysis import analyze_paths
    from service.house import OWN_MANUFACTURER
    from service.io_worker import analysis_faces
    from service.reading_worker import reading_terms, site_model

    model = site_model(settings)
    with Console(stderr=True).status("reading") as status:
        analysis = analyze_paths(
            paths,
            out,
            model,
            reading_terms(settings),
            *analysis_faces(settings),
            own_manufacturer=OWN_MANUFACTURER,
            progress=lambda text: status.update(f"reading {text}"),
        )
    model.close()
    studies = [
        {
            "study": s.study_instance_uid,
            "result": s.outcome.value,
            "folder": str(s.folder),
            "files": len(s.files),
        }
        for s in analysis.studies
    ]
    others = [{"path": str(o.path), "reason": o.reason, "code": o.code} for o in analysis.others]
    if as_json:
        print_json({"studies": studies, "others": others})
    else:
        print_table(["study", "result", "folder", "files"], [list(s.values()) for s in studies])
        for other in others:
            typer.echo(f"not read: {other['path']}: {other['reason']}", err=True)
    if not analysis.studies:
        raise typer.Exit(1)
