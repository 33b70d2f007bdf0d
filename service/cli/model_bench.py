"""`model bench`: how long a reading takes here, and what fewer image tokens cost in agreement."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.common import JsonOption, print_json, print_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from imaging import Flavour
    from service.model_measuring import Agreement

_FIRST_SEED = 9_500_000


def bench(
    path: Annotated[str, typer.Argument(help="'embedded' or the folder of a model package.")] = "embedded",
    images: Annotated[
        list[Path] | None, typer.Option("--image", help="DICOM file or picture; default: phantoms.")
    ] = None,
    tokens: Annotated[
        bool, typer.Option("--tokens", help="Compare settings of max_tiles and downscale_to.")
    ] = False,
    readings: Annotated[int, typer.Option(min=1, help="Phantoms to read, without --image.")] = 10,
    size: Annotated[int, typer.Option(min=32, max=4096, help="Side of a phantom in pixels.")] = 512,
    provider: Annotated[
        list[str] | None, typer.Option("--provider", help="In order of preference; default: cpu.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of one step.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a model package on this machine: seconds by stage, or (--tokens) what fewer image tokens cost."""
    from inference import load_model
    from service.model_measuring import economies, measured

    start = time.perf_counter()
    model = load_model(path, providers=tuple(provider or ("cpu",)), threads=threads)
    loaded_s = time.perf_counter() - start
    try:
        pixels = list(_pixels(images or [], readings, size, model.manifest.display))
        model.read(pixels[0][::2, ::2].copy())
        if tokens:
            _print_agreements(economies(model, pixels), as_json)
        else:
            _print_measured(measured(model, pixels) | {"loading_s": round(loaded_s, 2)}, as_json)
    finally:
        model.close()


def _pixels(images: Sequence[Path], count: int, size: int, flavour: Flavour) -> Iterable[NDArray[Any]]:
    if images:
        import numpy as np
        from PIL import Image

        from imaging import load_displayed

        for path in images:
            if path.suffix.lower() in {".png", ".jpg", ".jpeg"}:
                with Image.open(path) as picture:
                    yield np.asarray(picture.convert("L"))
            else:
                yield load_displayed(path, flavour=flavour).seen_by(flavour)
        return
    from training.phantoms import displayed, draw

    for seed in range(_FIRST_SEED, _FIRST_SEED + count):
        yield displayed(draw(seed, size)[0])


def _print_measured(values: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(values)
    else:
        print_table(["", "median"], [[key, value] for key, value in values.items()])


def _print_agreements(found: Sequence[Agreement], as_json: bool) -> None:
    if as_json:
        print_json(list(found))
        return
    rows = [
        [
            one.setting,
            f"{one.image_tokens:.0f}",
            f"{one.reading_s:.2f}",
            f"{100 * one.same_presence:.1f} %",
            f"{100 * one.same_report:.0f} %",
            "-" if one.overlap is None else f"{one.overlap:.2f}",
        ]
        for one in found
    ]
    columns = ["setting", "image tokens", "seconds", "labels alike", "reports alike", "box overlap"]
    print_table(columns, rows, title="Agreement with the full setting")
