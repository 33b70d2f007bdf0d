"""Python runs this at start when its folder is on PYTHONPATH: the engine hangs on one image, as a defect would."""

from __future__ import annotations

import sys
import time
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

POISON_ROWS = 520  # known to the test by this number, because importing this module would set the trap


def _hang_on_poison(module: ModuleType) -> None:
    encode = module.Vlm.encode

    def hanging(self: Any, tiles: Any) -> Any:
        if tiles.image[0] == POISON_ROWS:
            time.sleep(3600)  # inside one engine step: no deadline can end it, only the watchdog
        return encode(self, tiles)

    module.Vlm.encode = hanging


class _Finder(MetaPathFinder):
    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if name != "inference.vlm":
            return None
        sys.meta_path.remove(self)
        from importlib.util import find_spec

        spec = find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            _hang_on_poison(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, _Finder())
