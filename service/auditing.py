"""What the roles write into the audit log besides their work: changed configurations and refused callers."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timedelta
from threading import Lock

import structlog
from sqlalchemy import Engine

from clinical import RadDraftError
from service.book.audit import Action, AuditEvent, note, record
from service.book.database import writing
from service.book.tables import BookFact
from service.settings import Settings

_log = structlog.get_logger(__name__)
_CALLERS_MAX = 1000


def note_configuration(engine: Engine, settings: Settings, actor: str, *, now: datetime) -> tuple[str, ...]:
    """Record which sections of the configuration are not what they were at the last start; return their names.

    Sections are compared by digest, secrets included; neither values nor digests enter the log.
    """
    changed = []
    with writing(engine) as session:
        for section in sorted(type(settings).model_fields):
            value = settings.model_dump(mode="json", include={section})
            text = json.dumps(value, sort_keys=True) + "".join(_secrets(getattr(settings, section)))
            digest = hashlib.sha256(text.encode("utf-8")).hexdigest()
            name = f"configuration/{section}"
            fact = session.get(BookFact, name)
            if fact is None:
                session.add(BookFact(name=name, value=digest))
            elif fact.value == digest:
                continue
            else:
                fact.value = digest
            changed.append(section)
        if changed:
            event = AuditEvent(Action.CONFIGURE, actor, detail=f"changed: {', '.join(changed)}")
            note(session, event, now)
    return tuple(changed)


def _secrets(value: object) -> list[str]:
    """Secret values below a section, which its dump masks, in the order of their fields."""
    if hasattr(value, "get_secret_value"):
        return [str(value.get_secret_value())]
    if isinstance(value, tuple):
        return [secret for item in value for secret in _secrets(item)]
    fields = getattr(type(value), "model_fields", None)
    if fields is None:
        return []
    return [secret for name in fields for secret in _secrets(getattr(value, name))]


class RefusalLog:
    """Refused callers in the audit log: the first at once, a caller that goes on once per `interval_s` with its count.

    A flood of refused calls must not become a flood of commits.
    """

    def __init__(self, engine: Engine, *, interval_s: float = 60.0) -> None:
        self._engine = engine
        self._interval = timedelta(seconds=interval_s)
        self._lock = Lock()
        self._since: dict[tuple[str, str], tuple[datetime, int]] = {}

    def refused(self, actor: str, code: str, *, now: datetime) -> None:
        """Count a refused call and record it if its time has come; never raises."""
        with self._lock:
            at, count = self._since.get((actor, code), (None, 0))
            if at is not None and now - at < self._interval:
                self._since[actor, code] = (at, count + 1)
                return
            if len(self._since) >= _CALLERS_MAX:
                self._since.clear()
            self._since[actor, code] = (now, 0)
        detail = f"and {count} more before" if count else ""
        try:
            record(self._engine, AuditEvent(Action.REFUSE, actor, outcome=code, detail=detail), now=now)
        except RadDraftError as error:
            _log.warning("refusal_not_recorded", code=error.code)
