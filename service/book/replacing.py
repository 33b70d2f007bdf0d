"""An object that came again with a corrected header takes the place of the one it came for."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Engine

from clinical import Permanent, Transient
from service.book.database import writing
from service.book.receipts import QuietRule, reopen
from service.book.states import InstanceState, StudyState, checked_instance_change
from service.book.tables import InstanceRow, StudyRow

# While these last, a worker holds the older object in its hands.
_AT_WORK = frozenset({StudyState.READING, StudyState.DRAFTED, StudyState.TELLING})


def replace_instance(engine: Engine, older_id: int, newer_id: int, rule: QuietRule, *, now: datetime) -> None:
    """Let the newer of two objects with the same pixels stand; the study is read again with its header.

    The older one is a duplicate from now on. The new version of the Draft supersedes the older everywhere.

    Raises
    ------
    Permanent
        ``changed-study`` if the corrected header names another study: a person must say what becomes of the first.
    Transient
        ``study-at-work`` while the study is being read or told.
    """
    with writing(engine) as session:
        older = session.get(InstanceRow, older_id, with_for_update=True)
        newer = session.get(InstanceRow, newer_id, with_for_update=True)
        if older is None or newer is None or older.study_id != newer.study_id:
            raise Permanent("changed-study", "came again with the same pixels as part of another study")
        study = session.get(StudyRow, newer.study_id, with_for_update=True)
        if study is None or study.state in _AT_WORK:
            raise Transient("study-at-work", "the study is being read or told; this is done afterwards")
        for row, state, code, reason in (
            (older, InstanceState.DUPLICATE, "replaced", "came again with a corrected header, which stands"),
            (newer, InstanceState.WAITING, "", ""),
        ):
            row.state = checked_instance_change(InstanceState(row.state), state)
            row.reason_code, row.reason, row.state_since_utc = code, reason, now
        reopen(study, rule, now=now)
