"""Running counts of custody: what archives say of the results they were given."""

from __future__ import annotations

from alembic import op

revision = "custody_counts"
down_revision = "critical_findings"
branch_labels = None
depends_on = None

_PLUS = "INSERT INTO tallies (counted, state, number) VALUES ('custody', NEW.state, 1);"
_MINUS = "INSERT INTO tallies (counted, state, number) VALUES ('custody', OLD.state, -1);"


def upgrade() -> None:
    """Apply."""
    op.create_index("ix_custody_state", "custody", ["state", "delivery_id"])
    op.execute(
        "INSERT INTO tallies (counted, state, number) SELECT 'custody', state, COUNT(*) FROM custody GROUP BY state"
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            f"CREATE FUNCTION raddraft_tally_custody_state() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"IF TG_OP = 'INSERT' THEN {_PLUS} "
            f"ELSIF TG_OP = 'DELETE' THEN {_MINUS} "
            f"ELSIF OLD.state IS DISTINCT FROM NEW.state THEN {_MINUS} {_PLUS} "
            f"END IF; RETURN NULL; END $$"
        )
        op.execute(
            "CREATE TRIGGER tally_custody_state AFTER INSERT OR UPDATE OR DELETE ON custody "
            "FOR EACH ROW EXECUTE FUNCTION raddraft_tally_custody_state()"
        )
        # Also where triggers are off for the session, as replication and some restores have it: counts would drift.
        op.execute("ALTER TABLE custody ENABLE ALWAYS TRIGGER tally_custody_state")
        return
    op.execute(f"CREATE TRIGGER tally_custody_state_insert AFTER INSERT ON custody BEGIN {_PLUS} END")
    op.execute(f"CREATE TRIGGER tally_custody_state_delete AFTER DELETE ON custody BEGIN {_MINUS} END")
    op.execute(
        f"CREATE TRIGGER tally_custody_state_update AFTER UPDATE ON custody "
        f"WHEN OLD.state IS NOT NEW.state BEGIN {_MINUS} {_PLUS} END"
    )


def downgrade() -> None:
    """Take back."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP TRIGGER tally_custody_state ON custody")
        op.execute("DROP FUNCTION raddraft_tally_custody_state()")
    else:
        for change in ("insert", "delete", "update"):
            op.execute(f"DROP TRIGGER tally_custody_state_{change}")
    op.execute("DELETE FROM tallies WHERE counted = 'custody'")
    op.drop_index("ix_custody_state", "custody")
