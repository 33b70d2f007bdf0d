"""OHIF in a browser: installs the pinned viewer the first time, and looks at series as a radiologist would."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent
_PINNED = json.loads((_FOLDER / "pinned.json").read_text())
VIEWER = str(_PINNED["package"])
_STAMP = "installed.txt"


class NotInstallable(Exception):
    """npm could not install the viewer or the browser's driver."""


def install(npm: Path) -> Path:
    """Folder of the viewer's build, once for all processes that run tests here.

    Raises
    ------
    NotInstallable
        If npm fails, or the package is not the pinned one.
    """
    wanted = hashlib.sha256(
        (_FOLDER / "package-lock.json").read_bytes() + (_FOLDER / "pinned.json").read_bytes()
    ).hexdigest()
    target = _FOLDER / "viewer"
    with (_FOLDER / ".gitignore").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = target / _STAMP
        if not (stamp.is_file() and stamp.read_text() == wanted):
            _npm(npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
            _unpack(_downloaded(npm), target)
            stamp.write_text(wanted)
    return target / "package" / "dist"


def _npm(npm: Path, *arguments: str) -> str:
    command = [str(npm), *arguments, "--loglevel=error"]
    try:
        done = subprocess.run(command, cwd=_FOLDER, capture_output=True, text=True, timeout=240, check=False)
    except subprocess.TimeoutExpired:
        raise NotInstallable("npm did not end within 240 s") from None
    if done.returncode != 0:
        raise NotInstallable((done.stderr.strip().splitlines() or ["npm failed"])[-1])
    return done.stdout


def _downloaded(npm: Path) -> Path:
    """The package as published: it holds the built viewer, so nothing it depends on is installed."""
    name = _npm(npm, "pack", VIEWER).strip().splitlines()[-1]
    archive = _FOLDER / name
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if f"sha512-{digest}" != _PINNED["integrity"]:
        archive.unlink()
        raise NotInstallable(f"{VIEWER} is not the package that was pinned")
    return archive


def _unpack(archive: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    with tarfile.open(archive) as held:
        held.extractall(target, filter="data")
    archive.unlink()


class Viewer:
    """A running browser in front of one archive."""

    def __init__(self, process: subprocess.Popen[str], browser: str) -> None:
        self._process = process
        self.browser = browser

    def look(
        self, study_instance_uid: str, image: str, series: Sequence[str], shots: Sequence[Path] = ()
    ) -> tuple[bool, list[dict[str, Any]]]:
        """Open a study and show the series whose descriptions hold these words, one after the other.

        Parameters
        ----------
        image
            Series Instance UID of a source image.

        Returns
        -------
        bool
            Whether the viewer shows that image at all, with nothing over it.
        list
            For each of `series` what the viewer holds and has drawn; fewer where it failed, whose error is the last's.
        """
        asked = {
            "study": study_instance_uid,
            "image": image,
            "series": list(series),
            "shots": [str(shot) for shot in shots],
        }
        said = _said(self._process, asked)
        return bool(said["imageShown"]), list(said["answers"])


def _said(process: subprocess.Popen[str], asked: dict[str, Any] | None = None) -> Any:
    assert process.stdin is not None and process.stdout is not None
    if asked is not None:
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
    line = process.stdout.readline()
    assert line, "the viewer's driver ended"
    return json.loads(line)


@contextmanager
def running_viewer(node: Path, chromium: Path, dist: Path, archive_port: int) -> Iterator[Viewer]:
    """The viewer on a free loopback port, before an archive's DICOMweb; it ends with this process at the latest."""
    process = subprocess.Popen(
        [node, _FOLDER / "viewer.mjs", dist, str(archive_port), chromium],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Viewer(process, str(_said(process)["browser"]))
    finally:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
