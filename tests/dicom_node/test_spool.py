"""What the spool promises: durable or not there at all, under names of its own."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from clinical import Permanent, Transient
from dicom_node import PosixSpool


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_what_was_put_is_read_back_and_verified(tmp_path: Path) -> None:
    spool = PosixSpool(tmp_path / "spool")
    entry = spool.put((b"one ", b"two"))
    with spool.open(entry.key) as file:
        assert file.read() == b"one two"
    assert entry.size_bytes == 7
    assert entry.digest == hashlib.sha256(b"one two").hexdigest()
    assert spool.holds(entry.key) and spool.verify(entry.key, entry.digest)
    assert list(spool.keys()) == [entry.key]


def test_a_changed_file_is_noticed(tmp_path: Path) -> None:
    spool = PosixSpool(tmp_path / "spool")
    entry = spool.put(b"content")
    spool.path(entry.key).write_bytes(b"Content")
    assert not spool.verify(entry.key, entry.digest)


def test_a_deleted_file_is_gone_and_deleting_again_is_no_error(tmp_path: Path) -> None:
    spool = PosixSpool(tmp_path / "spool")
    entry = spool.put(b"content")
    spool.delete(entry.key)
    spool.delete(entry.key)
    assert not spool.holds(entry.key) and not spool.verify(entry.key, entry.digest)
    assert list(spool.keys()) == []
    with pytest.raises(Permanent, match="spool-file-missing"):
        spool.open(entry.key)


def test_nobody_else_can_read_the_spool(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    previous = os.umask(0)
    try:
        spool = PosixSpool(folder)
        path = spool.path(spool.put(b"content").key)
        spool.identity()
    finally:
        os.umask(previous)
    folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    assert {each.stat().st_mode & 0o777 for each in folders} == {0o700}
    assert {each.stat().st_mode & 0o777 for each in files_below(folder)} == {0o600}
    assert path in files_below(folder)


@pytest.mark.parametrize("key", ["../escape", "/etc/passwd", "ab", "ab/", "ab/../../x", "zz/x", "ab/..", ""])
def test_a_key_that_leaves_the_spool_is_refused(tmp_path: Path, key: str) -> None:
    spool = PosixSpool(tmp_path / "spool")
    with pytest.raises(Permanent, match="spool-key-malformed"):
        spool.path(key)
    assert not spool.holds(key)


def test_a_link_in_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    spool = PosixSpool(tmp_path / "spool")
    entry = spool.put(b"content")
    secret = tmp_path / "secret"
    secret.write_bytes(b"content")
    spool.path(entry.key).unlink()
    spool.path(entry.key).symlink_to(secret)
    assert not spool.holds(entry.key)
    with pytest.raises(OSError):
        spool.open(entry.key)


@pytest.mark.parametrize("call", ["open", "write", "fsync", "rename"])
@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, "spool-full"), (errno.EIO, "spool-failed")])
def test_a_failing_disk_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, code: str
) -> None:
    spool = PosixSpool(tmp_path / "spool")

    def fails(*_: Any, **__: Any) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fails)
        with pytest.raises(Transient, match=code):
            spool.put(b"x" * 5000)
    assert files_below(tmp_path) == []


def test_the_last_flush_failing_takes_the_renamed_file_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = PosixSpool(tmp_path / "spool")
    flush: Callable[[int], None] = os.fsync
    calls: list[int] = []

    def fails_on_the_folder(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(errno.EIO, "")
        flush(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fails_on_the_folder)
        with pytest.raises(Transient, match="spool-failed"):
            spool.put(b"x")
    assert files_below(tmp_path) == []


_FILL_A_SMALL_DISK = """
mount -t tmpfs -o size=2m none "$1" || exit 77
exec "$2" -c '
import sys
from pathlib import Path
from clinical import Transient
from dicom_node import PosixSpool
spool = PosixSpool(Path(sys.argv[1]) / "spool")
kept = [spool.put(b"x" * 500_000)]
try:
    while True:
        kept.append(spool.put(b"x" * 500_000))
except Transient as error:
    assert error.code == "spool-full", error.code
assert sorted(spool.keys()) == sorted(entry.key for entry in kept)
files = [path for path in Path(sys.argv[1]).rglob("*") if path.is_file()]
assert len(files) == len(kept), files
assert all(spool.verify(entry.key, entry.digest) for entry in kept)
' "$1"
"""


def test_a_really_full_disk_is_transient_and_leaves_nothing_behind(tmp_path: Path) -> None:
    if shutil.which("unshare") is None:
        pytest.skip("no unshare to make a small disk with")
    finished = subprocess.run(
        [
            "unshare",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            _FILL_A_SMALL_DISK,
            "sh",
            tmp_path,
            sys.executable,
        ],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if finished.returncode in (1, 77) and "dicom_node" not in finished.stderr:
        pytest.skip("this machine lets no ordinary user mount a small disk")
    assert finished.returncode == 0, finished.stderr


def test_one_identity_stands_when_many_start_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    PosixSpool(folder)
    with ThreadPoolExecutor(16) as pool:
        identities = set(pool.map(lambda _: PosixSpool(folder).identity(), range(32)))
    assert len(identities) == 1
    assert PosixSpool(folder).identity() in identities
    assert PosixSpool(tmp_path / "other").identity() not in identities


def test_leftovers_of_a_killed_writer_are_swept_and_younger_ones_kept(tmp_path: Path) -> None:
    spool = PosixSpool(tmp_path / "spool")
    entry = spool.put(b"content")
    shard = spool.path(entry.key).parent
    old, young = shard / ".part-old", shard / ".part-young"
    old.write_bytes(b"half")
    young.write_bytes(b"half")
    os.utime(old, (0, 0))
    assert spool.sweep_unfinished(older_than_s=60) == 1
    assert young.exists() and not old.exists() and spool.holds(entry.key)
    assert list(spool.keys()) == [entry.key]


def test_a_folder_that_cannot_be_used_is_refused_in_one_line(tmp_path: Path) -> None:
    blocking = tmp_path / "file"
    blocking.write_bytes(b"")
    with pytest.raises(Permanent, match="spool-not-usable"):
        PosixSpool(blocking / "spool")
