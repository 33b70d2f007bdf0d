"""`model trial`: a model tried on blank and known pictures, before it serves or when somebody doubts it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clinical import CheckStatus
from service.cli.common import ConfigOption, JsonOption, print_json, print_table
from service.settings import load_settings


def trial(
    model: Annotated[str | None, typer.Option(help="Package; default: the configured one.")] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            "--images",
            exists=True,
            dir_okay=False,
            help="Labels of known images; default: checks.canary_images.",
        ),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask a model about images with known findings, a blank one and one in pieces; exit status 1 if it fails."""
    from inference import canary_checks, load_model
    from service.reading_worker import decode_limits, site_model
    from service.trial_clock import site_known_images

    settings = load_settings(config)
    labels = images or settings.checks.canary_images
    served = load_model(model) if model else site_model(settings)
    try:
        known = (
            site_known_images(labels, decode_limits(settings), served.manifest.display)
            if labels
            else served.known_images
        )
        found = canary_checks(served, known, lowest=settings.checks.canary_lowest)
    finally:
        served.close()
    if as_json:
        print_json(found)
    else:
        rows = [[c.name, c.status.value, "-" if c.score is None else c.score, c.evidence] for c in found]
        print_table(["check", "status", "score", "evidence"], rows)
    if any(check.status is CheckStatus.FAIL for check in found):
        raise typer.Exit(1)
