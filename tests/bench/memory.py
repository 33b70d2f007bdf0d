"""Memory of a process, as the kernel keeps it."""

from __future__ import annotations

from pathlib import Path


def peak_rss_bytes(pid: int) -> int:
    """Peak resident set size (VmHWM, proc(5)); 0 for a process that is gone."""
    return _status_bytes(pid, "VmHWM:")


def forget_own_peak() -> None:
    """Let the peak of this process begin again from what it holds now (clear_refs, proc(5))."""
    Path("/proc/self/clear_refs").write_text("5")


def rss_bytes(pid: int) -> int:
    """Resident set size (VmRSS); 0 for a process that is gone."""
    return _status_bytes(pid, "VmRSS:")


def _status_bytes(pid: int, key: str) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = [line.split()[1] for line in status.splitlines() if line.startswith(key)]
    return int(found[0]) * 1024 if found else 0
