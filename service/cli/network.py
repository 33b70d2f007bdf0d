"""`echo` and `send`: the DICOM network as a tool."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import track

from service.cli.common import JsonOption, print_json, print_table
from service.settings import load_settings

_SUCCESS = 0x0000


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(echo)
    app.command()(send)


def echo(host: str, port: int, aet: str) -> None:
    """C-ECHO: ask whether HOST:PORT answers as AET."""
    from dicom_node import Peer
    from dicom_node import echo as c_echo

    status = c_echo(Peer(aet, host, port), calling_ae_title=load_settings().node.ae_title)
    typer.echo(f"{aet} at {host}:{port} answered 0x{status:04X}")
    if status != _SUCCESS:
        raise typer.Exit(1)


def send(
    targets: Annotated[list[str], typer.Argument(metavar="PATH... HOST PORT AET")],
    as_json: JsonOption = False,
) -> None:
    """C-STORE: send files and folders to HOST:PORT as AET."""
    if len(targets) < 4 or not targets[-2].isdecimal():
        raise typer.BadParameter("give at least one PATH, then HOST PORT AET")
    from clinical import RadDraftError
    from dicom_node import Peer, send_objects
    from service.analysis import dicom_files

    *paths, host, port, aet = targets
    peer = Peer(aet, host, int(port))
    own = load_settings().node.ae_title
    rows = []
    for path in track(list(dicom_files([Path(p) for p in paths])), description="sending", transient=True):
        try:
            (result,) = send_objects([path], peer, calling_ae_title=own)
            status = "" if result.status is None else f"0x{result.status:04X}"
            rows.append(
                {"path": str(path), "outcome": result.outcome, "status": status, "detail": result.detail}
            )
        except RadDraftError as error:
            rows.append({"path": str(path), "outcome": "failed", "status": "", "detail": str(error)})
    if as_json:
        print_json(rows)
    else:
        print_table(["file", "outcome", "status", "detail"], [list(row.values()) for row in rows])
    if any(row["outcome"] not in ("stored", "warning") for row in rows):
        raise typer.Exit(1)
