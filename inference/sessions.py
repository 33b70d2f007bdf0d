"""ONNX Runtime sessions: the one place that knows execution providers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import psutil

from clinical import Permanent

_log = logging.getLogger(__name__)

_DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu")
_PROVIDER_NAMES = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}


@dataclass(frozen=True, slots=True)
class Sessions:
    """The two graphs of a package, ready to run, and what runs them."""

    vision: Any
    decoder: Any
    engine: str
    device: str


def open_sessions(folder: Path, *, providers: Sequence[str], threads: int | None) -> Sessions:
    """Load the graphs in the process that will run them, never before a fork.

    Parameters
    ----------
    providers
        ``"cuda"`` and ``"cpu"`` in order of preference; what was really chosen is logged and kept.
    threads
        Threads of one graph run; None takes the physical cores.

    Raises
    ------
    Permanent
        ``no-onnxruntime``, ``two-onnxruntimes``, ``provider-unknown`` or ``no-provider`` in one line that says what
        to install or change.
    """
    unknown = [name for name in providers if name not in _PROVIDER_NAMES]
    if unknown:
        known = ", ".join(_PROVIDER_NAMES)
        raise Permanent(
            "provider-unknown", f"no provider {unknown[0]}; known: {known}", tag="model.providers"
        )
    if all(_installed(name) for name in _DISTRIBUTIONS):
        raise Permanent(
            "two-onnxruntimes",
            "onnxruntime and onnxruntime-gpu overwrite each other; uninstall both, then install one of the extras",
        )
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise Permanent(
            "no-onnxruntime", "ONNX Runtime is not installed; install raddraft with the extra 'cpu' or 'gpu'"
        ) from error
    available = ort.get_available_providers()
    wanted = [_PROVIDER_NAMES[name] for name in providers if _PROVIDER_NAMES[name] in available]
    if not wanted:
        raise Permanent(
            "no-provider", f"none of {', '.join(providers)} is available here", tag="model.providers"
        )
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or psutil.cpu_count(logical=False) or 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Threads that spin between steps cost a shared machine more than they save.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    vision = ort.InferenceSession(str(folder / "vision.onnx"), options, providers=wanted)
    decoder = ort.InferenceSession(str(folder / "decoder.onnx"), options, providers=wanted)
    chosen = decoder.get_providers()[0]
    _log.info("execution provider %s of %s", chosen, ", ".join(wanted))
    device = "cuda" if chosen == _PROVIDER_NAMES["cuda"] else "cpu"
    return Sessions(vision, decoder, f"onnxruntime {ort.__version__} {chosen}", device)


def _installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
