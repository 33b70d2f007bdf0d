"""RadDraft: the names a notebook imports, the version, and the command's entry.

>>> from raddraft import load_model
>>> model = load_model("embedded")
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raddraft_version import VERSION as __version__

if TYPE_CHECKING:
    from inference import load_model
    from reporting import build_sr
    from training.export import export_onnx

__all__ = ["__version__", "build_sr", "export_onnx", "load_model"]

_ROOMS = ("clinical", "dicom_node", "hl7_fhir", "imaging", "inference", "reporting", "service", "training")
_HOMES = {"load_model": "inference", "build_sr": "reporting", "export_onnx": "training.export"}
_BAD_USE = 2


def __getattr__(name: str) -> Any:
    # Lazy, so that importing raddraft loads neither a model runtime nor torch.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def installation_problem() -> str:
    """What is wrong with this installation in one line; empty if nothing is.

    The rooms have plain names at the top level, so another distribution may shadow one; and onnxruntime comes as two
    distributions that overwrite each other's files.
    """
    home = Path(__file__).resolve().parent
    for room in _ROOMS:
        spec = find_spec(room)
        origins = list(spec.submodule_search_locations or [spec.origin or ""]) if spec else []
        if not origins:
            return f"the package '{room}' is missing; install raddraft again"
        if Path(origins[0]).resolve() != home / room:
            return f"the package '{room}' is imported from {origins[0]}, not from {home / room}; remove that intruder"
    if _installed("onnxruntime") and _installed("onnxruntime-gpu"):
        return "onnxruntime and onnxruntime-gpu are both installed and overwrite each other; uninstall both, then one"
    return ""


def _installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def main() -> None:
    """Entry of the `raddraft` command."""
    problem = installation_problem()
    if problem:
        print(f"raddraft: {problem}", file=sys.stderr)
        raise SystemExit(_BAD_USE)
    from service.cli import run

    run()


if __name__ == "__main__":
    main()
