"""RadDraft: the public names for a notebook, the version, and the console program.

>>> from raddraft import load_model, build_sr
>>> reading = load_model("embedded").read("image.dcm")  # doctest: +SKIP

Importing this module imports no room, so it is quick and needs neither torch nor onnxruntime; a public name
brings its room with it on first use.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inference import load_model
    from reporting import build_sr
    from training.export import export_onnx

__version__ = "0.1.0"
__all__ = ["__version__", "build_sr", "export_onnx", "load_model", "main"]

_ROOMS = ("clinical", "dicom_node", "hl7_fhir", "imaging", "inference", "reporting", "service", "training")
_PUBLIC = {"load_model": "inference", "build_sr": "reporting", "export_onnx": "training.export"}
# What a public name imports beyond the base installation, and the extra that brings it.
_EXTRAS = {"onnx": "training", "onnxruntime": "cpu", "onnxscript": "training", "torch": "training"}
_RUNTIMES = ("onnxruntime", "onnxruntime-gpu")


def __getattr__(name: str) -> object:
    """Public name from its room, imported on first use (PEP 562)."""
    try:
        room = _PUBLIC[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    try:
        return getattr(import_module(room), name)
    except ModuleNotFoundError as error:
        if error.name not in _EXTRAS:
            raise
        extra = f"pip install 'raddraft[{_EXTRAS[error.name]}]'"
        raise ImportError(f"{name} needs {error.name}: {extra}", name=error.name) from None


def __dir__() -> list[str]:
    return sorted(__all__)


def intruder() -> str | None:
    """Sentence naming the first room that Python would not import from beside this file, or None.

    The rooms are top-level packages with plain names; another ``service`` earlier on ``sys.path`` would
    otherwise be imported in silence, and half a program would read images.
    """
    home = Path(__file__).resolve().parent
    for room in _ROOMS:
        found = _folder(room)
        if found is None:
            return f"the package {room!r} is missing; it belongs at {home / room}"
        if found != home / room:
            return f"the package {room!r} would come from {found}, not {home / room}; remove the intruder"
    return None


def _folder(room: str) -> Path | None:
    """Folder, or file, that ``import room`` would take."""
    spec = find_spec(room)
    if spec is None:
        return None
    places = [*(spec.submodule_search_locations or ()), spec.origin]
    return Path(places[0]).resolve() if places[0] else None


def runtime_clash() -> str | None:
    """Sentence saying that both builds of ONNX Runtime are installed, or None.

    Both distributions write the same files of the package ``onnxruntime``; whichever came last wins, and
    removing one breaks the other.
    """
    installed = [name for name in _RUNTIMES if _is_installed(name)]
    if len(installed) < 2:
        return None
    return (
        "both onnxruntime and onnxruntime-gpu are installed and overwrite each other; "
        "uninstall both, then install one of the extras 'cpu' and 'gpu'"
    )


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def main() -> None:
    """Refuse a broken installation (exit status 2), then run the command line."""
    refusal = intruder() or runtime_clash()
    if refusal is not None:
        print(f"raddraft: {refusal}", file=sys.stderr)
        raise SystemExit(2)
    import_module("service.cli").run()


if __name__ == "__main__":
    main()
