"""Packages that differ from the embedded one, for tests that need two."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inference import open_package
from inference.manifest import FITTED_FILES


def other_package(
    folder: Path, name: str, change: Callable[[dict[str, Any]], object] = lambda _: None
) -> Path:
    """A copy of the embedded package under another name and with another digest; `change` edits its manifest."""
    package = Path(shutil.copytree(open_package("embedded").folder, folder / name))
    (package / "note.txt").write_text(name)
    manifest = json.loads((package / "manifest.json").read_text())
    manifest["name"] = name
    # What was fitted belongs to the weights it was fitted on: another package comes without it.
    for fitted in FITTED_FILES:
        (package / fitted).unlink(missing_ok=True)
        manifest["files"].pop(fitted, None)
    manifest["files"]["note.txt"] = hashlib.sha256(name.encode()).hexdigest()
    change(manifest)
    (package / "manifest.json").write_text(json.dumps(manifest))
    return package
