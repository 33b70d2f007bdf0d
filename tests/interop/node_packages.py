"""Programs of other makers from npm, installed the first time as their lock file names them."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
from pathlib import Path

import pytest

_STAMP = "installed-lock.sha256"


class NotInstallable(Exception):
    """npm could not install the program."""


def require(npm: Path, folder: Path) -> None:
    """Install a folder's package-lock.json; without it the test is skipped, and failed where CI is set."""
    try:
        install(npm, folder)
    except NotInstallable as error:
        if os.environ.get("CI"):
            pytest.fail(f"{folder.name} cannot be installed: {error}", pytrace=False)
        pytest.skip(f"{folder.name} cannot be installed: {error}")


def install(npm: Path, folder: Path) -> None:
    """Install what package-lock.json names, once for all processes that run tests here.

    Raises
    ------
    NotInstallable
        If npm fails; its last line says why.
    """
    wanted = hashlib.sha256((folder / "package-lock.json").read_bytes()).hexdigest()
    stamp = folder / "node_modules" / _STAMP
    with (folder / ".gitignore").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.is_file() and stamp.read_text() == wanted:
            return
        command = [str(npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=240, check=False
            )
        except subprocess.TimeoutExpired:
            raise NotInstallable("npm did not end within 240 s") from None
        if done.returncode != 0:
            raise NotInstallable((done.stderr.strip().splitlines() or ["npm failed"])[-1])
        stamp.write_text(wanted)
