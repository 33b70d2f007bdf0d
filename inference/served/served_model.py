"""Loading a served model: which one it is, what its server can tell, and that it answers."""

from __future__ import annotations

from pathlib import Path
from threading import Event
from typing import Any

import numpy as np

from clinical import Permanent
from inference import prompts
from inference.checks import CheckTerms
from inference.frames import TokenEconomy
from inference.known_images import known_images_of
from inference.loading import calibration_of, identity_of
from inference.manifest import ModelPackage
from inference.model import Model
from inference.sampling import GREEDY
from inference.served.chat import AnswerReader, ChatModel, ChatTransport, data_url
from inference.served.description import open_description
from inference.served.served_vlm import Permits, ServedVlm

_QUESTIONS_PER_IMAGE = 8
_BEGUN = "The image shows"


def load_served_model(
    transport: ChatTransport,
    description: str | Path,
    *,
    name: str | None = None,
    slots: int = 4,
    stat_slots: int = 1,
    economy: TokenEconomy | None = None,
    checks: CheckTerms | None = None,
    calibration: Path | None = None,
) -> Model:
    """A model that an OpenAI-compatible server runs.

    Parameters
    ----------
    description
        Folder with the ``manifest.json`` of what is served: its labels, tasks and the SHA-256 of its weights.
    name
        What the server knows it by; None takes the only one it serves.
    checks
        See `inference.checks.CheckTerms`.
    calibration
        See `inference.load_model`.

    Raises
    ------
    Transient
        The server is away.
    Permanent
        ``served-model-unknown`` naming what is served, ``no-model-description``, or what the server refuses us with.
    """
    try:
        return _loaded(
            transport, open_description(description), name, slots, stat_slots, economy, checks, calibration
        )
    except BaseException:
        # A model that was loaded owns the transport; one that was not leaves nothing open.
        transport.close()
        raise


def _loaded(
    transport: ChatTransport,
    package: ModelPackage,
    name: str | None,
    slots: int,
    stat_slots: int,
    economy: TokenEconomy | None,
    checks: CheckTerms | None,
    calibration: Path | None,
) -> Model:
    entry = _served(transport, name)
    probe = ChatModel(str(entry["id"]))
    continues, model, system = _probe(transport, probe)
    maker = str(entry.get("owned_by") or "unknown maker")
    engine = " ".join(part for part in ("openai-compatible server", maker, system) if part)
    vlm = ServedVlm(
        transport,
        model,
        continues=continues,
        permits=Permits(slots * _QUESTIONS_PER_IMAGE, stat_slots * _QUESTIONS_PER_IMAGE),
        economy=economy or TokenEconomy(),
    )
    identity = identity_of(package.manifest, package.weights_sha256, engine)
    return Model(
        package.manifest,
        identity,
        vlm,
        slots=slots,
        stat_slots=stat_slots,
        checks=checks,
        calibration=calibration_of(package, calibration),
        known_images=known_images_of(package),
    )


def _served(transport: ChatTransport, name: str | None) -> dict[str, Any]:
    found = {str(entry.get("id", "")): entry for entry in transport.models()}
    if name is None and len(found) == 1:
        return next(iter(found.values()))
    if name not in found:
        served = ", ".join(sorted(found)) or "nothing"
        asked = (
            f"no model {name}" if name else "more than one model or none, and model.served_name names none"
        )
        raise Permanent(
            "served-model-unknown", f"the server has {asked}; it serves {served}", tag="model.served_name"
        )
    return found[name]


def _probe(transport: ChatTransport, model: ChatModel) -> tuple[bool, ChatModel, str]:
    """Whether the server goes on within a begun answer, and whether it tells probabilities.

    A server that does not know how to go on may answer all the same: only one that repeats the beginning, as it was
    asked to, has understood. Where it refuses the request, it is asked for less.
    """
    url = data_url(np.full((64, 64), 128, dtype=np.uint8))
    try:
        reader = AnswerReader()
        body = model.continuation(url, prompts.CLASSIFICATION, _BEGUN, echo=True)
        answer = reader.read(transport.chat(body, Event()))
        return answer.text.startswith(_BEGUN) and len(reader.first) > 1, model, reader.system
    except Permanent:
        pass
    for plainer in (model, ChatModel(model.name, probabilities=False)):
        reader = AnswerReader()
        body = plainer.question(url, prompts.CLASSIFICATION, (), longest=1, sampling=GREEDY)
        try:
            reader.read(transport.chat(body, Event()))
        except Permanent:
            if not plainer.probabilities:
                raise
        else:
            return False, plainer, reader.system
    raise AssertionError("unreachable")
