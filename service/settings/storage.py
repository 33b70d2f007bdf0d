"""Where the books are, how long files are kept, and how lost work is found."""

from __future__ import annotations

from pydantic import Field

from service.settings.basics import Section, ServiceUrl


class DatabaseSection(Section):
    """The account book's database."""

    url: ServiceUrl = Field(None, repr=False, description="SQLAlchemy URL; default: SQLite under data_dir")


class BrokerSection(Section):
    """The message broker."""

    url: ServiceUrl = Field(
        None, repr=False, description="redis:// or amqp:// URL; default: embedded under data_dir"
    )


class LeaseSection(Section):
    """How quickly lost work is found again."""

    lease_s: float = Field(30.0, ge=1, description="a worker silent for this long has lost its study")
    hint_age_s: float = Field(15.0, ge=1, description="a message unanswered for this long counts as lost")
    sweep_interval_s: float = Field(0.5, gt=0, le=60)


class RetentionSection(Section):
    """How long files are kept after their study's last movement. Rows, receipts and the audit log stay for ever."""

    received_days: float | None = Field(None, gt=0, description="received objects; default: for ever")
    results_days: float | None = Field(
        None, gt=0, description="built results and the text of drafts; default: for ever"
    )
    interval_s: float = Field(3600.0, gt=0, description="how often the scheduler looks for what had its time")
