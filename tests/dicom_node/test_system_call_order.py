"""The order of system calls behind one acknowledgement, as a system-call trace shows it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dicom_node import Peer, send_objects
from tests.dicom_node.crafted import as_file, crafted_dataset

_REPOSITORY = Path(__file__).resolve().parents[2]
_LISTEN = """
import sys
from pathlib import Path
from dicom_node import Listener, ListenerSettings, PosixSpool
from tests.dicom_node.sqlite_ledger import SqliteLedger
folder = Path(sys.argv[1])
listener = Listener(ListenerSettings(port=0), PosixSpool(folder / "spool"), SqliteLedger(folder / "ledger.sqlite"))
listener.start()
print(listener.port, flush=True)
sys.stdin.readline()
listener.stop()
"""
# -y names the file behind every descriptor.
_STRACE = ["-f", "-y", "-e", "trace=openat,write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,sendto"]
_SHARD = r"<[^>]*/spool/[0-9a-f]{2}>"
_STEPS = (
    ("write of the file", r"write\(\d+<[^>]*/\.part-"),
    ("fsync of the file", r"fsync\(\d+<[^>]*/\.part-"),
    ("rename", r"rename(at2?)?\(.*\.part-"),
    ("fsync of the folder", rf"fsync\(\d+{_SHARD}"),
    ("commit", r"p?write(64)?\(\d+<[^>]*ledger\.sqlite-wal>"),
    ("fsync of the commit", r"f(data)?sync\(\d+<[^>]*ledger\.sqlite-wal>"),
    ("response", r"sendto\(\d+<(TCP|socket)"),
)


@pytest.mark.interop
def test_response_comes_after_write_fsync_rename_folder_fsync_and_commit(
    program: Callable[[str], Path], tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    command = [
        str(program("strace")),
        *_STRACE,
        "-o",
        str(trace),
        sys.executable,
        "-c",
        _LISTEN,
        str(tmp_path),
    ]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    running = subprocess.Popen(command, cwd=_REPOSITORY, text=True, **pipes)  # type: ignore[call-overload]
    try:
        port = running.stdout.readline()
        if not port:
            pytest.skip(f"no system-call trace here: {running.stderr.read()[-200:]}")
        content = as_file(crafted_dataset(pixels=b"\1" * 300_000))
        (result,) = send_objects(
            [content], Peer("RADDRAFT", "127.0.0.1", int(port)), calling_ae_title="MODALITY"
        )
        assert result.status == 0x0000
    finally:
        running.communicate("stop\n", timeout=60)
    lines = trace.read_text(errors="replace").splitlines()
    position = -1
    for step, pattern in _STEPS:
        found = next((n for n in range(position + 1, len(lines)) if re.search(pattern, lines[n])), None)
        assert found is not None, f"no {step} after line {position}: {lines[max(position, 0)][:200]}"
        position = found
    # Until then the peer has heard one thing only: that its association is accepted.
    assert sum(re.search(_STEPS[-1][1], line) is not None for line in lines[:position]) == 1
