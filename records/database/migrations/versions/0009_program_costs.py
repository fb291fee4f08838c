"""What each program costs, as the district states it: who said it, when, and until when it
counted
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "program_costs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("program_id", sa.String(80), nullable=False),
        sa.Column("cents", sa.BigInteger(), nullable=False),
        sa.Column("per", sa.String(10), nullable=False),
        sa.Column("stated_by", sa.String(40), nullable=False),
        sa.Column("stated_at", sa.DateTime(), nullable=False),
        sa.Column("ended_by", sa.String(40), nullable=True),
        sa.Column("ended_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_program_costs")),
    )
    op.create_index(op.f("ix_program_costs_program_id"), "program_costs", ["program_id"])
