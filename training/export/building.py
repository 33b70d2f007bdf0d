"""A package appears whole or not at all."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from inference.manifest import MANIFEST_FILE

_LOCK = ".building"


@contextmanager
def whole_package(out: Path) -> Iterator[tuple[Path, Path]]:
    """Folder to write a package into, and one for what is only needed meanwhile; `out` is replaced at the end.

    What an export that was killed left behind beside `out` is removed first. Nothing of it has a manifest, so nothing
    of it can be loaded.

    Raises
    ------
    ValueError
        If `out` is there and is no model package: it is not deleted.
    """
    if out.exists() and not (out / MANIFEST_FILE).is_file() and not _is_empty_folder(out):
        raise ValueError(f"{out} is there and is no model package; name another folder or remove it")
    out.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{out.name}-building-"
    for left in out.parent.glob(f"{prefix}*"):
        _remove_abandoned(left)
    room = Path(mkdtemp(dir=out.parent, prefix=prefix))
    lock = os.open(room / _LOCK, os.O_CREAT | os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        package, scratch = room / "package", room / "scratch"
        package.mkdir()
        scratch.mkdir()
        yield package, scratch
        if out.exists():
            out.rename(room / "replaced")
        package.rename(out)
    finally:
        shutil.rmtree(room, ignore_errors=True)
        os.close(lock)


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and next(path.iterdir(), None) is None


def _remove_abandoned(room: Path) -> None:
    """Remove the room of an export whose process has ended: its lock ended with it."""
    try:
        lock = os.open(room / _LOCK, os.O_RDWR)
    except OSError:
        return  # just being made, or none of ours
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(room, ignore_errors=True)
    except BlockingIOError:
        return
    finally:
        os.close(lock)
