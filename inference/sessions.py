"""ONNX Runtime sessions: the one place that knows execution providers."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import psutil

from clinical import Permanent

_log = logging.getLogger(__name__)

_DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu")
_TENSORRT, _CUDA, _CPU = "TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"
_PROVIDER_NAMES = {"tensorrt": _TENSORRT, "cuda": _CUDA, "cpu": _CPU}
# TensorRT builds an engine per range of shapes: one for every number of tiles the engine encodes at once.
_MOST_TILES = 4


@dataclass(frozen=True, slots=True)
class DeviceOptions:
    """How sessions use their device.

    Attributes
    ----------
    allow_cpu_fallback
        Whether a worker that was asked for another device first may run on the CPU where that is not to be had.
    engine_cache
        Folder for TensorRT's engines, which take minutes to build; None builds them at every start.
    memory_limit_bytes
        Of the CUDA provider's arena; None leaves it unlimited.
    spin
        Whether threads spin between steps: faster on a quiet machine, slower on a shared one.
    cuda_graphs
        Whether decode steps are captured as CUDA graphs and replayed, where the decoder runs on CUDA.
    """

    allow_cpu_fallback: bool = False
    engine_cache: Path | None = None
    memory_limit_bytes: int | None = None
    spin: bool = False
    cuda_graphs: bool = False


@dataclass(frozen=True, slots=True)
class Sessions:
    """The two graphs of a package, ready to run, and what runs them.

    Attributes
    ----------
    engine
        Version of ONNX Runtime and the provider that was really chosen for each graph.
    device
        ``"cpu"`` or ``"cuda"``: where the decoder's cache lies.
    providers
        The provider that was really chosen, by graph.
    captures
        Whether the decoder's runs can be captured as CUDA graphs.
    """

    vision: Any
    decoder: Any
    engine: str
    device: str
    providers: Mapping[str, str] = field(default_factory=dict)
    captures: bool = False


def open_sessions(
    folder: Path, *, providers: Sequence[str], threads: int | None, options: DeviceOptions | None = None
) -> Sessions:
    """Load the graphs in the process that will run them, never before a fork.

    TensorRT takes the vision graph only: the decoder's attention is an operator it does not have.

    Parameters
    ----------
    providers
        ``"tensorrt"``, ``"cuda"`` and ``"cpu"`` in order of preference; what was really chosen is logged and kept.
    threads
        Threads of one graph run; None takes the physical cores.

    Raises
    ------
    Permanent
        ``no-onnxruntime``, ``two-onnxruntimes``, ``provider-unknown``, ``no-provider`` or ``cpu-fallback-refused`` in
        one line that says what to install or change.
    """
    options = options or DeviceOptions()
    ort = _runtime(providers)
    wanted = wanted_providers(providers, ort.get_available_providers(), options)
    session_options = _session_options(ort, threads, options)
    graphs: dict[str, Any] = {}
    captures = False
    for graph in ("vision", "decoder"):
        chosen = [name for name in wanted if graph == "vision" or name != _TENSORRT] or [_CPU]
        configured = [(name, _provider_options(name, folder, options)) for name in chosen]
        path = str(folder / f"{graph}.onnx")
        session = None
        if graph == "decoder" and options.cuda_graphs:
            session = capturing_session(ort.InferenceSession, path, session_options, configured)
            captures = session is not None
        graphs[graph] = session or ort.InferenceSession(path, session_options, providers=configured)
        # A provider that is there may still not come up: a driver too old, a library missing.
        _refuse_fallback(providers, graphs[graph].get_providers()[0], options)
        # One that fails later must be seen to fail: ONNX Runtime would go on with the CPU and only print it.
        graphs[graph].disable_fallback()
    used = {graph: session.get_providers()[0] for graph, session in graphs.items()}
    _log.info("execution providers %s of %s", used, ", ".join(wanted))
    different = f" (vision {used['vision']})" if used["vision"] != used["decoder"] else ""
    engine = f"onnxruntime {ort.__version__} {used['decoder']}{different}"
    device = "cuda" if used["decoder"] == _CUDA else "cpu"
    return Sessions(graphs["vision"], graphs["decoder"], engine, device, used, captures)


def capturing_session(
    make: Callable[..., Any],
    path: str,
    session_options: Any,
    providers: Sequence[tuple[str, Mapping[str, str]]],
) -> Any | None:
    """A session whose runs can be captured as CUDA graphs; None where that is not to be had.

    ONNX Runtime refuses to make one where a node of the graph is left to another provider or needs a copy.

    Parameters
    ----------
    make
        ``onnxruntime.InferenceSession``.
    providers
        With their options; the first runs the graph.
    """
    (name, configured), *others = providers
    if name != _CUDA:
        _log.warning("CUDA graphs are for the CUDA provider; %s runs the decoder without them", name)
        return None
    capturing = [(name, {**configured, "enable_cuda_graph": "1"}), *others]
    try:
        # Without its own fallback, which would be the CPU.
        return make(path, session_options, providers=capturing, enable_fallback=0)
    except Exception:
        _log.warning("the decoder cannot be captured as a CUDA graph here; it runs without", exc_info=True)
        return None


def wanted_providers(providers: Sequence[str], available: Sequence[str], options: DeviceOptions) -> list[str]:
    """ONNX Runtime's names of the providers to try, in order.

    Raises
    ------
    Permanent
        ``no-provider``, or ``cpu-fallback-refused`` where only the CPU is left of a list that begins with another
        device.
    """
    found = [_PROVIDER_NAMES[name] for name in providers if _PROVIDER_NAMES[name] in available]
    if not found and not (options.allow_cpu_fallback and _CPU in available):
        raise Permanent(
            "no-provider", f"none of {', '.join(providers)} is available here", tag="model.providers"
        )
    found = found or [_CPU]
    _refuse_fallback(providers, found[0], options)
    return found


def _refuse_fallback(providers: Sequence[str], chosen: str, options: DeviceOptions) -> None:
    if chosen != _CPU or providers[0] == "cpu":
        return
    if not options.allow_cpu_fallback:
        raise Permanent(
            "cpu-fallback-refused",
            f"{providers[0]} was asked for and only the CPU is to be had; repair it, or set model.allow_cpu_fallback",
            tag="model.providers",
        )
    _log.warning("%s was asked for and is not to be had; the CPU is used", providers[0])


def _runtime(providers: Sequence[str]) -> Any:
    """ONNX Runtime, if there is exactly one and every name is known."""
    unknown = [name for name in providers if name not in _PROVIDER_NAMES]
    if unknown or not providers:
        known = ", ".join(_PROVIDER_NAMES)
        name = unknown[0] if unknown else "at all"
        raise Permanent("provider-unknown", f"no provider {name}; known: {known}", tag="model.providers")
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
    return ort


def _session_options(ort: Any, threads: int | None, options: DeviceOptions) -> Any:
    session = ort.SessionOptions()
    session.intra_op_num_threads = threads or psutil.cpu_count(logical=False) or 1
    session.inter_op_num_threads = 1
    session.log_severity_level = 3
    # Threads that spin between steps cost a shared machine more than they save.
    session.add_session_config_entry("session.intra_op.allow_spinning", str(int(options.spin)))
    return session


def _provider_options(name: str, folder: Path, options: DeviceOptions) -> dict[str, str]:
    if name == _CUDA:
        # Growing by what is asked for keeps room for the cache; growing by powers of two would not.
        found = {"arena_extend_strategy": "kSameAsRequested", "cudnn_conv_algo_search": "HEURISTIC"}
        if options.memory_limit_bytes is not None:
            found["gpu_mem_limit"] = str(options.memory_limit_bytes)
        return found
    if name == _TENSORRT:
        return _tensorrt_options(folder, options)
    return {}


def _tensorrt_options(folder: Path, options: DeviceOptions) -> dict[str, str]:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    side = int(config["vision_config"]["image_size"])
    shapes = {count: f"pixel_values:{count}x3x{side}x{side}" for count in (1, _MOST_TILES)}
    found = {
        "trt_fp16_enable": "1",
        "trt_profile_min_shapes": shapes[1],
        "trt_profile_opt_shapes": shapes[_MOST_TILES],
        "trt_profile_max_shapes": shapes[_MOST_TILES],
    }
    if options.engine_cache is not None:
        options.engine_cache.mkdir(parents=True, exist_ok=True)
        for key in ("trt_engine_cache", "trt_timing_cache"):
            found |= {f"{key}_enable": "1", f"{key}_path": str(options.engine_cache)}
    return found


def _installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
