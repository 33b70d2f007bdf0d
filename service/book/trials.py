"""Trials of the model that were made, and how they ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from pydantic import TypeAdapter
from sqlalchemy import Engine, delete, select

from clinical import CheckResult, CheckStatus, ModelIdentity
from service.book.database import reading, writing
from service.book.tables import TrialRow

_KEPT = 1000


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial: of which model, when, and its checks."""

    at_utc: datetime
    model_name: str
    model_version: str
    weights_sha256: str
    engine: str
    checks: tuple[CheckResult, ...]

    @property
    def failed(self) -> bool:
        """Whether a check of it failed."""
        return any(check.status is CheckStatus.FAIL for check in self.checks)

    @property
    def failure(self) -> str:
        """What it failed, in one sentence; empty where it passed."""
        failed = [f"{c.name}: {c.evidence}" for c in self.checks if c.status is CheckStatus.FAIL]
        return f"the model failed its trial ({'; '.join(failed)})" if failed else ""


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[tuple[CheckResult, ...]]:
    return TypeAdapter(tuple[CheckResult, ...])


def save_trial(
    engine: Engine, identity: ModelIdentity, checks: tuple[CheckResult, ...], *, now: datetime
) -> Trial:
    """Keep how a trial ended; the oldest of very many go."""
    with writing(engine) as session:
        row = TrialRow(
            at_utc=now,
            model_name=identity.name,
            model_version=identity.version,
            weights_sha256=identity.weights_sha256,
            engine=identity.engine[:255],
            checks_json=_adapter().dump_json(checks).decode("utf-8"),
        )
        session.add(row)
        session.flush()
        session.execute(delete(TrialRow).where(TrialRow.id <= row.id - _KEPT))
        return _trial(row)


def latest_trial(engine: Engine, identity: ModelIdentity) -> Trial | None:
    """The newest trial of a model on the engine that runs it."""
    with reading(engine) as session:
        row = session.scalars(
            select(TrialRow)
            .where(
                TrialRow.weights_sha256 == identity.weights_sha256, TrialRow.engine == identity.engine[:255]
            )
            .order_by(TrialRow.id.desc())
            .limit(1)
        ).first()
        return _trial(row) if row else None


def trials(engine: Engine, *, limit: int = 100) -> list[Trial]:
    """Trials, the newest first."""
    with reading(engine) as session:
        return [
            _trial(row) for row in session.scalars(select(TrialRow).order_by(TrialRow.id.desc()).limit(limit))
        ]


def _trial(row: TrialRow) -> Trial:
    return Trial(
        row.at_utc,
        row.model_name,
        row.model_version,
        row.weights_sha256,
        row.engine,
        _adapter().validate_json(row.checks_json),
    )
