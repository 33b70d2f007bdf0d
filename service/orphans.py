"""Spool files without a row: set aside, never deleted, never left to unbalance the book."""

from __future__ import annotations

import os
from pathlib import Path

from sqlalchemy import Engine, select

from dicom_node import PosixSpool
from service.book.database import reading
from service.book.tables import InstanceRow


def set_orphans_aside(engine: Engine, spool: PosixSpool, folder: Path) -> int:
    """Move every spool file without a row into `folder`; return how many.

    Such a file was written by a listener that died before its commit: its sender got no success and sends again.
    Where the book was restored from an older copy the file may be the only one left, so it is kept for a person.
    Call it while no listener runs.
    """
    with reading(engine) as session:
        known = set(session.scalars(select(InstanceRow.spool_key)))
    moved = 0
    for key in list(spool.keys()):
        if key not in known:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.replace(spool.path(key), folder / key.replace("/", "_"))
            moved += 1
    return moved
