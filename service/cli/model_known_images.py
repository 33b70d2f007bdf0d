"""`model known-images`: the images a package is tried on every day, put into it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from service.cli.common import ConfigOption, say_step
from service.settings import load_settings


def known_images(
    package: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Folder of a model package.")],
    labels: Annotated[
        Path,
        typer.Argument(
            exists=True, dir_okay=False, help="What is known of each image, as for `model calibrate`."
        ),
    ],
    images: Annotated[
        Path | None, typer.Option("--images", help="Folder of the images; default: the labels file's.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Put images with known findings into a package: what it is tried on before it serves and every day.

    Their pixels go into the package, their headers do not.
    """
    from inference import open_package
    from inference.known_images import keep_known_images
    from service.reading_worker import decode_limits
    from service.trial_clock import site_known_images

    opened = open_package(package)
    say_step("reading the images")
    found = site_known_images(labels, decode_limits(load_settings(config)), opened.manifest.display, images)
    keep_known_images(opened, found)
    typer.echo(f"{package} is tried on {len(found)} images; `raddraft model trial --model {package}`")
