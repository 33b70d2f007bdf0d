"""`model calibrate`: label scores fitted to a site's own labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from service.cli.common import ConfigOption, JsonOption, print_json, print_table
from service.settings import load_settings


def calibrate(
    labels: Annotated[
        Path,
        typer.Argument(
            help="CSV (a column `image`, then one per label with 1, 0 or nothing) or JSON "
            '({"image": {"label": 1}}); an image is a file beside it or a SOP Instance UID.'
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="File to write; `model.calibration` then names it.")],
    images: Annotated[
        Path | None,
        typer.Option(
            "--images", exists=True, file_okay=False, help="Folder with the DICOM files of the UIDs."
        ),
    ] = None,
    source: Annotated[
        str, typer.Option(help="What the labels are, in words a reader of a result understands.")
    ] = "site labels",
    model: Annotated[str | None, typer.Option(help="Package; default: the configured one.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fit temperature and bias of each label's score on labelled images, and measure the calibration error."""
    from inference import load_model
    from service.calibrating import calibrated, labelled_images
    from service.reading_worker import decode_limits, site_model

    settings = load_settings(config)
    wanted = labelled_images(labels, images)
    served = load_model(model) if model else site_model(settings)
    try:
        with Progress(transient=True) as progress:
            task = progress.add_task("images", total=len(wanted))
            result = calibrated(
                served,
                wanted,
                source,
                decode_limits(settings),
                progress=lambda: progress.advance(task),
            )
    finally:
        served.close()
    sha256 = result.write(out)
    if as_json:
        print_json({"file": str(out), "sha256": sha256, **result.as_json()})
        return
    rows = [
        [name, f"{f.positives} of {f.images}", f.temperature, f.bias, f.ece_before, f.ece_after]
        for name, f in result.calibration.labels.items()
    ]
    columns = ["label", "with finding", "temperature", "bias", "error before", "after (cross-fitted)"]
    print_table(columns, rows, title=f"Calibration on {result.calibration.images} images")
    if result.left_out:
        typer.echo(f"left out, too few images with or without: {', '.join(result.left_out)}")
    if result.unread:
        typer.echo(f"{result.unread} images could not be read and were left out")
    typer.echo(f"written: {out} (SHA-256 {sha256[:16]}); set model.calibration to use it")
