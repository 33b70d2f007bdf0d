"""Results on their way into the account book: what it does not name in the end is not left in the spool."""

from __future__ import annotations

from sqlalchemy import Engine, select

from clinical import RadDraftError
from dicom_node import Spool, SpoolEntry
from service.book.database import reading
from service.book.tables import ArtefactRow


class NewResults:
    """Files one piece of work adds to the results spool.

    When its context is left, however that is, each file without a row in the book is removed: those of a work that
    failed half way, and those whose twins the book holds already. A full disk would be filled further by every retry.
    """

    def __init__(self, engine: Engine, results: Spool) -> None:
        self._engine = engine
        self._results = results
        self._keys: list[str] = []

    def put(self, content: bytes) -> SpoolEntry:
        """Store a result durably. Raises as `Spool.put` does."""
        entry = self._results.put(content)
        self._keys.append(entry.key)
        return entry

    def __enter__(self) -> NewResults:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._keys:
            return
        try:
            with reading(self._engine) as session:
                query = select(ArtefactRow.spool_key).where(ArtefactRow.spool_key.in_(self._keys))
                kept = set(session.scalars(query))
        except RadDraftError:
            return  # a file too many costs space; a row without its file would cost a result
        for key in self._keys:
            if key not in kept:
                self._results.delete(key)
