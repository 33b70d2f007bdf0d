"""An EHR that tells us of signed reports: one process hears it, another one looks, and the account book is between."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock

from sqlalchemy import Engine

from service.book.followed import followed_to, note_followed

# So many notifications of one EHR are one: a look that begins when this has passed sees all that they told of.
AS_ONE = timedelta(seconds=1)


@dataclass(slots=True)
class Doorbell:
    """Rings for one EHR.

    Attributes
    ----------
    name
        Of its destination.
    """

    engine: Engine
    name: str
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)
    _rung: datetime | None = field(default=None, init=False, repr=False)

    def ring(self, now: datetime) -> None:
        """Note that somebody should look once `AS_ONE` has passed; a flood of rings is a write a second.

        Raises
        ------
        Transient
            If the book is away: the EHR should tell us again.
        """
        with self._lock:
            if self._rung is not None and timedelta() <= now - self._rung < AS_ONE:
                return
            note_followed(self.engine, self._place, now)
            self._rung = now

    def rung_at(self) -> datetime | None:
        """When it rang last, in any process; None where it never did."""
        return followed_to(self.engine, self._place)

    @property
    def _place(self) -> str:
        return f"told-of-reports/{self.name}"
