"""A model package made into a model in this process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict, Unpack

from clinical import ModelIdentity
from inference.calibration import LoadedCalibration, open_calibration
from inference.checks import CheckTerms
from inference.device_memory import free_and_total_bytes
from inference.familiarity import LoadedFamiliarity, open_familiarity
from inference.frames import TokenEconomy
from inference.known_images import known_images_of
from inference.manifest import (
    CALIBRATION_FILE,
    EMBEDDED,
    FAMILIARITY_FILE,
    Manifest,
    ModelPackage,
    open_package,
)
from inference.model import Model
from inference.plan import prompts_sha256
from inference.sessions import DeviceOptions, open_sessions
from inference.vlm import CacheSize, Vlm


class ModelOptions(TypedDict, total=False):
    """Keyword arguments of `load_model`."""

    providers: Sequence[str]
    threads: int | None
    slots: int
    stat_slots: int
    cache_tokens: int | None
    cache_bytes: int | None
    max_tiles: int | None
    downscale_to: int | None
    device_options: DeviceOptions | None
    checks: CheckTerms | None
    calibration: Path | None
    familiarity: Path | None


def load_model(path: str | Path = EMBEDDED, **options: Unpack[ModelOptions]) -> Model:
    """Load a model package into this process.

    Parameters
    ----------
    path
        ``"embedded"`` (the phantom model that is shipped) or a package folder.
    providers, threads, device_options
        See `inference.sessions.open_sessions`.
    slots
        Images in flight, and answers written, at once; bounds the memory of the cache.
    stat_slots
        More of both that only STAT work takes.
    cache_tokens
        Longest prompt and answer the cache has room for; None takes what the package's largest image needs.
    cache_bytes
        Most memory of the cache: fewer answers are written at once where it is less than `slots` need.
    max_tiles, downscale_to
        See `inference.frames.TokenEconomy`.
    checks
        See `inference.checks.CheckTerms`.
    calibration
        File of `raddraft model calibrate`; None takes the package's own, if it has one.
    familiarity
        File of `raddraft model familiarise`; None takes the package's own, if it has one.
    """
    package = open_package(path)
    sessions = open_sessions(
        package.folder,
        providers=options.get("providers", ("cpu",)),
        threads=options.get("threads"),
        options=options.get("device_options"),
    )
    slots, stat_slots = options.get("slots", 4), options.get("stat_slots", 1)
    vlm = Vlm(
        package,
        sessions,
        size=CacheSize(slots, stat_slots, options.get("cache_tokens"), options.get("cache_bytes")),
        economy=TokenEconomy(options.get("max_tiles"), options.get("downscale_to")),
    )
    identity = identity_of(package.manifest, package.weights_sha256, sessions.engine)
    return Model(
        package.manifest,
        identity,
        vlm,
        slots=slots,
        stat_slots=stat_slots,
        checks=options.get("checks"),
        calibration=calibration_of(package, options.get("calibration")),
        familiarity=familiarity_of(package, options.get("familiarity")),
        known_images=known_images_of(package),
        providers=sessions.providers,
    )


def device_memory(model: Model) -> tuple[int, int] | None:
    """Free and all bytes of the CUDA device a model runs on; None where it runs on none."""
    if not any(name.startswith(("CUDA", "Tensorrt")) for name in model.providers.values()):
        return None
    return free_and_total_bytes()


def calibration_of(package: ModelPackage, path: Path | None) -> LoadedCalibration | None:
    """A site's calibration, or the package's own; None where there is neither."""
    if path is None:
        if CALIBRATION_FILE not in package.manifest.files:
            return None
        path = package.folder / CALIBRATION_FILE
    return open_calibration(path, weights_sha256=package.weights_sha256, prompts_sha256=prompts_sha256())


def familiarity_of(package: ModelPackage, path: Path | None) -> LoadedFamiliarity | None:
    """A site's own, or the package's; None where there is neither."""
    if path is None:
        if FAMILIARITY_FILE not in package.manifest.files:
            return None
        path = package.folder / FAMILIARITY_FILE
    return open_familiarity(path, weights_sha256=package.weights_sha256)


def identity_of(manifest: Manifest, weights_sha256: str, engine: str) -> ModelIdentity:
    """What every face of a result says of a model that `engine` runs."""
    return ModelIdentity(
        name=manifest.name,
        version=manifest.version,
        family=manifest.family,
        weights_sha256=weights_sha256,
        prompts_sha256=prompts_sha256(),
        engine=engine,
        precision=manifest.precision,
        statement=manifest.statement,
    )
