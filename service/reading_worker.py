"""The reading worker put together: the model, its terms, its desk."""

from __future__ import annotations

from imaging import DecodeLimits
from inference import Model, load_model
from raddraft import __version__
from service.book.leases import LeaseKeeper
from service.book.states import StudyState
from service.house import House
from service.queues import Hints, quietly
from service.reading_task import ReadingDesk
from service.role_process import lease_owner
from service.settings import Settings, configuration_sha256
from service.study_reading import ReadingTerms


def decode_limits(settings: Settings) -> DecodeLimits:
    """Limits of the decoding child process."""
    decode = settings.decode
    return DecodeLimits(
        timeout_s=decode.timeout_s, memory_bytes=decode.memory_bytes, max_pixels=decode.max_pixels
    )


def reading_terms(settings: Settings) -> ReadingTerms:
    """What readings are done under."""
    return ReadingTerms(
        limits=decode_limits(settings),
        read_timeout_s=settings.model.read_timeout_s,
        configuration_sha256=configuration_sha256(settings),
        product_version=__version__,
    )


def site_model(settings: Settings) -> Model:
    """The model of the settings, loaded in this process."""
    return load_model(
        settings.model.path, providers=tuple(settings.model.providers), threads=settings.model.threads
    )


def reading_desk(house: House, model: Model, hints: Hints, keeper: LeaseKeeper) -> ReadingDesk:
    """Everything the ``gpu`` queue's worker works with."""
    return ReadingDesk(
        engine=house.book.engine,
        spool=house.spool,
        model=model,
        terms=reading_terms(house.settings),
        keeper=keeper,
        owner=lease_owner(),
        max_attempts=house.settings.study.max_attempts,
        retry_delay_s=house.settings.study.retry_delay_s,
        tell=quietly(lambda study_id: hints.study(study_id, StudyState.DRAFTED)),
    )
