"""Running counts kept by the database, the delivery log, circuits, purged results, and what completeness needs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "tallies_and_outbox"
down_revision = "worker_figures"
branch_labels = None
depends_on = None

# (trigger, table, what is counted, state, number): each row of the table counts so much.
_COUNTED = (
    ("instances_state", "instances", "instances", "state", "1"),
    ("instances_given", "instances", "given", "''", "receipt_count"),
    ("receipts_kind", "receipts", "receipts", "kind", "1"),
    ("studies_state", "studies", "studies", "state", "1"),
    ("deliveries_state", "deliveries", "deliveries", "state", "1"),
    ("drafts_answers", "drafts", "answers", "''", "answers"),
    ("drafts_malformed", "drafts", "malformed", "''", "malformed_answers"),
)


def upgrade() -> None:
    """Apply."""
    op.add_column("receipts", sa.Column("kind", sa.String(16), nullable=False, server_default="received"))
    op.add_column("studies", sa.Column("expected_images", sa.Integer(), nullable=True))
    op.add_column("studies", sa.Column("expected_asked_at_utc", sa.DateTime(timezone=True), nullable=True))
    op.add_column(
        "studies", sa.Column("arrivals_looked_at", sa.Integer(), nullable=False, server_default="0")
    )
    op.add_column("artefacts", sa.Column("purged_at_utc", sa.DateTime(timezone=True), nullable=True))
    op.add_column("drafts", sa.Column("purged_at_utc", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_studies_updated", "studies", ["updated_at_utc", "id"])
    op.create_index("ix_studies_state_updated", "studies", ["state", "updated_at_utc", "id"])
    op.create_index("ix_deliveries_state_created", "deliveries", ["state", "created_at_utc"])
    op.create_index("ix_deliveries_destination_state", "deliveries", ["destination", "state"])
    unpurged = sa.text("purged_at_utc IS NULL")
    op.create_index(
        "ix_instances_unpurged",
        "instances",
        # The first column is the same in every entry: with it, SQLite answers from the index alone.
        ["purged_at_utc", "spool_key"],
        postgresql_where=unpurged,
        sqlite_where=unpurged,
    )
    _log_and_circuits()
    _tallies()


def _log_and_circuits() -> None:
    op.create_table(
        "delivery_attempts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("delivery_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("started_at_utc", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at_utc", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("reason_code", sa.String(64), nullable=False),
        sa.Column("reason", sa.String(255), nullable=False),
        sa.ForeignKeyConstraint(
            ["delivery_id"], ["deliveries.id"], name=op.f("fk_delivery_attempts_delivery_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery_attempts")),
    )
    op.create_index("ix_delivery_attempts_delivery_id", "delivery_attempts", ["delivery_id"])
    op.create_table(
        "circuits",
        sa.Column("destination", sa.String(64), nullable=False),
        sa.Column("held", sa.Boolean(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failing_since_utc", sa.DateTime(timezone=True), nullable=True),
        sa.Column("retry_at_utc", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason_code", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("destination", name=op.f("pk_circuits")),
    )


def _tallies() -> None:
    op.create_table(
        "tallies",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("counted", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tallies")),
    )
    postgresql = op.get_bind().dialect.name == "postgresql"
    for trigger, table, counted, state, number in _COUNTED:
        grouped = "" if state == "''" else f" GROUP BY {state}"
        op.execute(
            f"INSERT INTO tallies (counted, state, number) "
            f"SELECT '{counted}', {state}, SUM({number}) FROM {table}{grouped} HAVING COUNT(*) > 0"
        )
        make = _postgresql_triggers if postgresql else _sqlite_triggers
        for statement in make(trigger, table, counted, state, number):
            op.execute(statement)


def _of(row: str, term: str) -> str:
    return term if term in ("''", "1") else f"{row}.{term}"


def _entry(row: str, counted: str, state: str, number: str, sign: str) -> str:
    return (
        f"INSERT INTO tallies (counted, state, number) "
        f"VALUES ('{counted}', {_of(row, state)}, {sign}({_of(row, number)}));"
    )


def _changed(state: str, number: str, differs: str) -> str:
    terms = [term for term in (state, number) if term not in ("''", "1")]
    return " OR ".join(f"OLD.{term} {differs} NEW.{term}" for term in terms)


def _sqlite_triggers(trigger: str, table: str, counted: str, state: str, number: str) -> list[str]:
    plus = _entry("NEW", counted, state, number, "")
    minus = _entry("OLD", counted, state, number, "-")
    return [
        f"CREATE TRIGGER tally_{trigger}_insert AFTER INSERT ON {table} BEGIN {plus} END",
        f"CREATE TRIGGER tally_{trigger}_delete AFTER DELETE ON {table} BEGIN {minus} END",
        f"CREATE TRIGGER tally_{trigger}_update AFTER UPDATE ON {table} "
        f"WHEN {_changed(state, number, 'IS NOT')} BEGIN {minus} {plus} END",
    ]


def _postgresql_triggers(trigger: str, table: str, counted: str, state: str, number: str) -> list[str]:
    plus = _entry("NEW", counted, state, number, "")
    minus = _entry("OLD", counted, state, number, "-")
    function = f"raddraft_tally_{trigger}"
    return [
        f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF TG_OP = 'INSERT' THEN {plus} "
        f"ELSIF TG_OP = 'DELETE' THEN {minus} "
        f"ELSIF {_changed(state, number, 'IS DISTINCT FROM')} THEN {minus} {plus} "
        f"END IF; RETURN NULL; END $$",
        f"CREATE TRIGGER tally_{trigger} AFTER INSERT OR UPDATE OR DELETE ON {table} "
        f"FOR EACH ROW EXECUTE FUNCTION {function}()",
        # Also where triggers are off for the session, as replication and some restores have it: counts would drift.
        f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER tally_{trigger}",
    ]


def downgrade() -> None:
    """Take back."""
    postgresql = op.get_bind().dialect.name == "postgresql"
    for trigger, table, *_ in _COUNTED:
        if postgresql:
            op.execute(f"DROP TRIGGER tally_{trigger} ON {table}")
            op.execute(f"DROP FUNCTION raddraft_tally_{trigger}()")
        else:
            for change in ("insert", "delete", "update"):
                op.execute(f"DROP TRIGGER tally_{trigger}_{change}")
    for table in ("tallies", "circuits", "delivery_attempts"):
        op.drop_table(table)
    for index, table in (
        ("ix_instances_unpurged", "instances"),
        ("ix_deliveries_destination_state", "deliveries"),
        ("ix_deliveries_state_created", "deliveries"),
        ("ix_studies_state_updated", "studies"),
        ("ix_studies_updated", "studies"),
    ):
        op.drop_index(index, table)
    op.drop_column("drafts", "purged_at_utc")
    op.drop_column("artefacts", "purged_at_utc")
    for column in ("arrivals_looked_at", "expected_asked_at_utc", "expected_images"):
        op.drop_column("studies", column)
    op.drop_column("receipts", "kind")
