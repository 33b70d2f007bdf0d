"""Where the tests' files go: tests make and delete many thousands, which takes a disk minutes.

Prints a folder in memory where there is room for them and programs may run from it, the temporary folder elsewhere.
"""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import gettempdir

import psutil

_MEMORY = Path("/dev/shm")
# Each process that runs tests needs some GB beside what lies there; a passed test's files go at once.
_ROOM_BYTES = 8 << 30


def scratch_folder() -> str:
    """`/dev/shm`, or the temporary folder."""
    try:
        told = os.statvfs(_MEMORY)
    except OSError:
        return gettempdir()
    room_bytes = min(told.f_bavail * told.f_frsize, psutil.virtual_memory().available)
    usable = os.access(_MEMORY, os.W_OK) and not told.f_flag & os.ST_NOEXEC
    return str(_MEMORY) if usable and room_bytes >= _ROOM_BYTES else gettempdir()


if __name__ == "__main__":
    print(scratch_folder())
