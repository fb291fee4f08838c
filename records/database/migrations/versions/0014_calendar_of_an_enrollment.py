"""Which calendar an enrollment follows

On PostgreSQL the published copies of enrollments get the new column.
"""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE district_records.school_enrollments ADD COLUMN calendar_code text")
