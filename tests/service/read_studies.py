"""Phantom studies put into a book and read, as a reading worker does it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from clinical import CheckResult
from dicom_node import PosixSpool
from inference import Model
from service.book import Book, queueing
from service.book.leases import LeaseKeeper
from service.clock import now_utc
from service.model_seat import ModelSeat, Seated
from service.reading_task import ReadingDesk
from service.study_reading import ReadingTerms
from tests.service.arrivals import arrive
from training.phantoms.dicom import VARIANTS, phantom_dataset


def read_phantoms(
    book: Book,
    spool: PosixSpool,
    model: Model,
    terms: ReadingTerms,
    seeds: Iterable[int],
    standing: Sequence[CheckResult] = (),
) -> list[str]:
    """One study per seed, received and read; their Study Instance UIDs.

    Parameters
    ----------
    standing
        Checks of the model and the device that every reading carries.
    """
    desk = ReadingDesk(
        engine=book.engine,
        spool=spool,
        seat=ModelSeat(Seated(model, terms)),
        keeper=LeaseKeeper(book.engine, lease_s=60),
        owner="test",
        max_attempts=3,
        retry_delay_s=0,
        tell=lambda study_id: None,
        standing=lambda model, header: tuple(standing),
    )
    uids = []
    for seed in seeds:
        dataset, _ = phantom_dataset(seed, VARIANTS[0], 256)
        with TemporaryDirectory() as folder:
            path = Path(folder) / "image.dcm"
            dataset.save_as(path, enforce_file_format=True)
            content = path.read_bytes()
        uids.append(str(dataset.StudyInstanceUID))
        arrive(
            book.engine,
            spool,
            content,
            sop_instance_uid=str(dataset.SOPInstanceUID),
            study_instance_uid=uids[-1],
        )
    for study_id in queueing.close_quiet_studies(book.engine, now_utc() + timedelta(hours=1)):
        desk.read(study_id)
    return uids
