"""`show --replay`: a saved result read once more and compared."""

from __future__ import annotations

import typer
from rich.console import Console

from clinical import Permanent
from dicom_node import PosixSpool
from service.book import Book, StudyDetail, study_images
from service.book.model_orders import ordered_model
from service.cli.common import print_json, print_table
from service.model_changing import effective_settings
from service.reading_worker import seated_model
from service.replay import replay
from service.settings import Settings
from service.study_reading import ImageFile


def print_replay(settings: Settings, book: Book, detail: StudyDetail, *, as_json: bool) -> None:
    """Read the newest Draft's images again with the model in use; exit status 1 where a byte differs.

    Raises
    ------
    Permanent
        ``nothing-to-replay``.
    """
    draft = detail.draft
    if draft is None or not draft.readings:
        raise Permanent("nothing-to-replay", "the study has no result with a reading in it")
    spool = PosixSpool(settings.data_dir / "spool")
    held = study_images.images_of_study(book.engine, detail.summary.study_row_id)
    files = [ImageFile(h.sop_instance_uid, spool.path(h.spool_key), h.digest) for h in held]
    with Console(stderr=True).status("reading again"):
        seated = seated_model(effective_settings(settings, ordered_model(book.engine)))
        try:
            found = replay(draft, files, seated.model, seated.terms)
        finally:
            seated.model.close()
    if as_json:
        print_json({"same": found.same, "replay": found})
    else:
        rows = [
            [
                i.image,
                "same" if i.same else ", ".join(i.differing) or "differs",
                i.saved_sha256,
                i.replayed_sha256,
            ]
            for i in found.images
        ]
        print_table(
            ["image", "bytes", "saved (SHA-256)", "now (SHA-256)"], rows, title=f"version {found.version}"
        )
        if found.changed:
            typer.echo(f"not as it was: {', '.join(found.changed)}")
    if not found.same:
        raise typer.Exit(1)
