"""The reading worker put together: the model, its terms, its desk."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from clinical import Permanent
from imaging import DecodeLimits
from inference import (
    CheckTerms,
    DeviceOptions,
    KnownImage,
    Model,
    TokenEconomy,
    load_model,
    load_served_model,
)
from raddraft import __version__
from service.book.leases import LeaseKeeper
from service.book.states import StudyState
from service.chat_channel import open_chat_channel
from service.chat_desk import ChatDesk
from service.drift_watch import drift_check
from service.house import House, broker_url, displayed_shelf
from service.model_seat import ModelSeat, Seated
from service.model_server import HttpChatTransport
from service.priors import PriorDesk
from service.queues import Hints, quietly
from service.reading_task import ReadingDesk
from service.role_process import lease_owner
from service.settings import ModelSection, Settings, configuration_sha256
from service.shadow_reading import ShadowDesk, ShadowReader
from service.study_reading import ReadingTerms
from service.trial_clock import TrialClock, site_known_images

# One study's questions are answered at once as well.
_FEWEST_SLOTS = 4


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
        withhold_draft=settings.checks.on_failed == "draft",
    )


def check_terms(settings: Settings) -> CheckTerms:
    """Which checks are made, and their thresholds."""
    checks = settings.checks
    return CheckTerms(
        low_confidence=checks.low_confidence,
        ask_regions=checks.ask_regions,
        repeats=checks.repeats,
        lowest_agreement=checks.lowest_agreement,
        mirror_test=checks.mirror_test,
        farthest=checks.farthest,
        critical=checks.critical,
    )


def site_model(settings: Settings) -> Model:
    """The model of the settings, loaded in this process."""
    model = settings.model
    if model.backend == "openai":
        return _served_model(model, check_terms(settings))
    return load_model(
        model.path,
        providers=model.providers,
        threads=model.threads,
        slots=max(model.studies_in_flight, _FEWEST_SLOTS),
        cache_bytes=model.cache_bytes,
        max_tiles=model.max_tiles,
        downscale_to=model.downscale_to,
        checks=check_terms(settings),
        calibration=model.calibration,
        familiarity=model.familiarity,
        device_options=DeviceOptions(
            allow_cpu_fallback=model.allow_cpu_fallback,
            memory_limit_bytes=model.device_memory_bytes,
            spin=model.spin,
            cuda_graphs=model.cuda_graphs,
            engine_cache=settings.data_dir / "tensorrt" if "tensorrt" in model.providers else None,
        ),
    )


def _served_model(model: ModelSection, checks: CheckTerms) -> Model:
    transport = HttpChatTransport(
        str(model.base_url),
        api_key=model.api_key.get_secret_value() if model.api_key else None,
        silence_s=model.read_timeout_s,
        ca=model.server_ca,
    )
    return load_served_model(
        transport,
        model.path,
        name=model.served_name,
        slots=max(model.studies_in_flight, _FEWEST_SLOTS),
        economy=TokenEconomy(model.max_tiles, model.downscale_to),
        checks=checks,
        calibration=model.calibration,
    )


def seated_model(settings: Settings) -> Seated:
    """The model of the settings, loaded and tried, with the terms of its readings."""
    model = site_model(settings)
    try:
        model.warm_up()
    except BaseException:
        model.close()
        raise
    return Seated(model, reading_terms(settings))


def passed_model(settings: Settings, trials: TrialClock) -> Seated:
    """As `seated_model`, for a model that is to take the place of another: it has passed its trial.

    Raises
    ------
    Permanent
        ``trial-failed`` with what it failed; and as `seated_model` and `inference.canary.canary_checks`.
    """
    seated = seated_model(settings)
    try:
        trial = trials.try_now(seated.model)
        if trial.failed:
            raise Permanent("trial-failed", trial.failure, tag="model.path")
    except BaseException:
        seated.model.close()
        raise
    return seated


def shadow_reader(house: House, settings: Settings, seat: ModelSeat) -> ShadowReader:
    """The shadow model of the settings, loaded and tried, ready to read."""
    # What it says is never told, so a package of this machine will do whatever runs the first.
    shadow = settings.model.model_copy(update={"path": settings.model.shadow, "backend": "onnx"})
    seated = seated_model(settings.model_copy(update={"model": shadow}))
    return ShadowReader(
        ShadowDesk(
            engine=house.book.engine,
            spool=house.spool,
            model=seated.model,
            terms=seated.terms,
            busy=lambda: any(model.engine.busy for model in seat.models),
        )
    )


def chat_desk(house: House, seat: ModelSeat) -> ChatDesk:
    """Everything questions are answered with."""
    return ChatDesk(
        engine=house.book.engine,
        spool=house.spool,
        seat=seat,
        limits=decode_limits(house.settings),
        channel=open_chat_channel(broker_url(house.settings)),
        most_tokens=house.settings.chat.max_tokens,
    )


def trial_clock(house: House, seat: ModelSeat) -> TrialClock:
    """What tries the seated model every day, by the settings."""
    checks, limits = house.settings.checks, decode_limits(house.settings)

    def known(model: Model) -> Sequence[KnownImage]:
        if checks.canary_images is None:
            return model.known_images
        return site_known_images(checks.canary_images, limits, model.manifest.display)

    return TrialClock(
        house.book.engine,
        seat,
        known,
        every=timedelta(seconds=checks.canary_every_s),
        lowest=checks.canary_lowest,
        deadline_s=house.settings.model.read_timeout_s,
    )


def reading_desk(
    house: House, seat: ModelSeat, hints: Hints, keeper: LeaseKeeper, trials: TrialClock
) -> ReadingDesk:
    """Everything the ``gpu`` queue's worker works with."""
    return ReadingDesk(
        engine=house.book.engine,
        spool=house.spool,
        seat=seat,
        keeper=keeper,
        owner=lease_owner(),
        max_attempts=house.settings.study.max_attempts,
        retry_delay_s=house.settings.study.retry_delay_s,
        tell=quietly(lambda study_id: hints.study(study_id, StudyState.DRAFTED)),
        priors=PriorDesk(house, house.settings.priors) if house.settings.priors.ae_title else None,
        shelf=displayed_shelf(house.settings),
        standing=lambda model, header: (
            *trials.standing(model),
            drift_check(house.book.engine, header, model.identity),
        ),
    )
