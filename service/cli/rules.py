"""`rules test`: what new routing rules would change, before they are in force."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.common import ConfigOption, JsonOption, open_migrated_book, print_json, print_table
from service.settings import Settings, load_settings

if TYPE_CHECKING:
    from pydicom import Dataset

    from service.routing import Route

app = typer.Typer(no_args_is_help=True)


@dataclass(frozen=True, slots=True)
class RuleChange:
    """One image, by row number or file name, and what becomes of it now and by the new rules."""

    image: str
    now: str
    new: str

    @property
    def changes(self) -> bool:
        """Whether the new rules do otherwise."""
        return self.now != self.new


@app.command()
def test(
    new: Annotated[Path, typer.Argument(help="TOML configuration with the new [[rules]].")],
    folder: Annotated[
        Path | None, typer.Option(help="DICOM files to try them on; default: the last studies.")
    ] = None,
    studies: Annotated[int, typer.Option(min=1, max=100_000, help="How many of the last studies.")] = 100,
    calling_ae: Annotated[str, typer.Option(help="Who sent the files of the folder.")] = "",
    all_images: Annotated[bool, typer.Option("--all", help="Also list what stays the same.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print which images new rules would treat otherwise. Nothing is changed.

    The rules in force are those of --config; the images are a folder's, or the last studies' in the account book, which
    are named by row number.
    """
    from service.routing import route_of

    settings, proposed = load_settings(config), load_settings(new)
    images = _of_folder(folder, calling_ae) if folder is not None else _of_book(settings, studies)
    seen, listed = 0, []
    for name, header, sender in images:
        seen += 1
        change = RuleChange(
            name,
            _in_words(route_of(header, sender, settings.rules)),
            _in_words(route_of(header, sender, proposed.rules)),
        )
        if change.changes or all_images:
            listed.append(change)
    if as_json:
        print_json({"images": seen, "changes": [c for c in listed if c.changes], "listed": listed})
        return
    print_table(["image", "now", "by the new rules"], [[c.image, c.now, c.new] for c in listed])
    typer.echo(f"{sum(c.changes for c in listed)} of {seen} images would be treated otherwise")


def _in_words(route: Route) -> str:
    places = "everywhere" if route.destinations is None else ", ".join(route.destinations) or "nowhere"
    words = f"{'STAT' if route.is_stat else 'routine'}, to {places}" if route.read else "not read"
    return f"{words} ({route.rule})" if route.rule else words


def _of_folder(folder: Path, calling_ae: str) -> Iterator[tuple[str, Dataset, str]]:
    from clinical import RadDraftError
    from imaging import read_header

    if not folder.is_dir():
        raise typer.BadParameter(f"there is no folder {folder}")
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            yield str(path.relative_to(folder)), read_header(path), calling_ae
        except RadDraftError:
            continue


def _of_book(settings: Settings, studies: int) -> Iterator[tuple[str, Dataset, str]]:
    from clinical import RadDraftError
    from dicom_node import PosixSpool
    from imaging import read_header
    from service.book.triage import newest_images

    spool = PosixSpool(settings.data_dir / "spool")
    for study_id, images in newest_images(open_migrated_book(settings).engine, studies):
        for image in images:
            try:
                header = read_header(spool.path(image.spool_key))
            except RadDraftError:
                continue
            yield f"study {study_id}, object {image.instance_id}", header, image.calling_ae_title
