"""Spool files without a row: taken into the account book as what they are, never lost, never "acknowledged".

Such a file was written by a listener that died before its commit, and its sender, who got no success, sends again; or
the book was restored from an older copy, and the file may be the only one left. Either way it is adopted: it gets a row
and a receipt of kind "adopted", so that the book balances, and it is read like any other. When its sender comes again,
the object is held already and costs no work.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

import structlog
from sqlalchemy import Engine, select

from clinical import Quarantine, RadDraftError
from dicom_node import PosixSpool, Reception
from service.book.database import reading
from service.book.receipts import QuietRule, commit_arrival
from service.book.tables import InstanceRow
from service.intake import arrival_of

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Orphans:
    """What became of the files without a row.

    Attributes
    ----------
    adopted
        Got a row of their own.
    restored
        Took the place of a lost file with the same bytes.
    copies
        Removed: the same bytes are held under another name.
    set_aside
        No objects of ours; moved out of the spool for a person.
    """

    adopted: int = 0
    restored: int = 0
    copies: int = 0
    set_aside: int = 0


def adopt_orphans(
    engine: Engine,
    spool: PosixSpool,
    reception: Reception,
    rule: QuietRule,
    folder: Path,
    *,
    older_than_s: float = 0.0,
) -> Orphans:
    """Account for every spool file without a row.

    Parameters
    ----------
    folder
        Where files go that are no objects of ours.
    older_than_s
        Files younger than this are left alone: a listener that runs may be about to commit them. 0 where none runs.
    """
    with reading(engine) as session:
        known = set(session.scalars(select(InstanceRow.spool_key)))
    found = Orphans()
    oldest = time.time() - older_than_s
    for key in sorted(set(spool.keys()) - known):
        try:
            if older_than_s and spool.path(key).stat().st_mtime > oldest:
                continue
            found = _adopt(engine, spool, reception, rule, key, found)
        except Quarantine:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.replace(spool.path(key), folder / key.replace("/", "_"))
            found = replace(found, set_aside=found.set_aside + 1)
        except (RadDraftError, OSError) as error:
            _log.warning("orphan_left", error_type=type(error).__name__)
    return found


def _adopt(
    engine: Engine, spool: PosixSpool, reception: Reception, rule: QuietRule, key: str, found: Orphans
) -> Orphans:
    described = reception.describe(key)
    with reading(engine) as session:
        row = session.execute(
            select(InstanceRow.spool_key, InstanceRow.purged_at_utc).where(
                InstanceRow.sop_instance_uid == described.sop_instance_uid,
                InstanceRow.digest == described.digest,
            )
        ).first()
    if row is None:
        commit_arrival(engine, replace(arrival_of(described), adopted=True), rule)
        return replace(found, adopted=found.adopted + 1)
    if row.purged_at_utc is None and not spool.verify(row.spool_key, described.digest):
        os.replace(spool.path(key), spool.path(row.spool_key))
        return replace(found, restored=found.restored + 1)
    # The bytes are held, or had their time: a copy is nobody's only one.
    spool.delete(key)
    return replace(found, copies=found.copies + 1)
