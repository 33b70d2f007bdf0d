"""`serve` and the single roles."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from service.cli.common import ConfigOption
from service.settings import Settings, load_settings
from service.settings.settings import CONFIG_VARIABLE

_QUEUES = ("gpu", "io")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(serve)
    app.command()(node)
    app.command()(hl7)
    app.command()(worker)
    app.command()(scheduler)
    app.command()(api)


def _settings(config: ConfigOption) -> Settings:
    if config is not None:
        # Roles started by `serve` read the same file.
        os.environ[CONFIG_VARIABLE] = str(config.resolve())
    return load_settings(config)


def serve(config: ConfigOption = None) -> None:
    """Everything on one machine: listener, workers, scheduler, HTTP."""
    settings = _settings(config)
    from service.roles.serve import run_serve

    run_serve(settings)


def node(config: ConfigOption = None) -> None:
    """The DICOM listener alone."""
    settings = _settings(config)
    from service.roles.node import run_node

    run_node(settings)


def hl7(config: ConfigOption = None) -> None:
    """The HL7 v2 listener alone: signed reports and merged patients over MLLP."""
    settings = _settings(config)
    from service.roles.hl7 import run_hl7

    run_hl7(settings)


def worker(
    queues: Annotated[str, typer.Option(help="Queues to work on, separated by commas: gpu, io.")] = "gpu,io",
    config: ConfigOption = None,
) -> None:
    """A worker alone."""
    wanted = [name.strip() for name in queues.split(",") if name.strip()]
    if not wanted or set(wanted) - set(_QUEUES):
        raise typer.BadParameter(f"--queues takes {' and '.join(_QUEUES)}, separated by commas")
    settings = _settings(config)
    from service.roles.worker import run_worker

    run_worker(settings, wanted)


def scheduler(config: ConfigOption = None) -> None:
    """The scheduler alone: closes quiet studies, finds lost work."""
    settings = _settings(config)
    from service.roles.scheduler import run_scheduler

    run_scheduler(settings)


def api(config: ConfigOption = None) -> None:
    """The HTTP API and console alone."""
    settings = _settings(config)
    from service.roles.api import run_api

    run_api(settings)
