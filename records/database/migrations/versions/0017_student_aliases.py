"""Further identifiers of students, and what moved from an alias to its student"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "student_aliases",
        sa.Column("alias_id", sa.String(80), nullable=False),
        sa.Column("student_id", sa.String(80), nullable=False),
        sa.Column("source", sa.String(40), nullable=False),
        sa.Column("first_seen", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("alias_id", name=op.f("pk_student_aliases")),
    )
    op.create_index(op.f("ix_student_aliases_student_id"), "student_aliases", ["student_id"])
    op.create_table(
        "moved_student_rows",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("alias_id", sa.String(80), nullable=False),
        sa.Column("student_id", sa.String(80), nullable=False),
        sa.Column("table_name", sa.String(40), nullable=False),
        sa.Column("row_key", sa.JSON(), nullable=False),
        sa.Column("moved_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_moved_student_rows")),
    )
    for column in ("alias_id", "student_id"):
        op.create_index(op.f(f"ix_moved_student_rows_{column}"), "moved_student_rows", [column])
