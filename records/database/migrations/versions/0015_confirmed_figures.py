"""Figures of a school that looked unusual, and that the district has said are right"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "confirmed_figures",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("school_id", sa.String(80), nullable=False),
        sa.Column("measure", sa.String(40), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.Column("school_year", sa.Integer(), nullable=False),
        sa.Column("confirmed_by", sa.String(40), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_confirmed_figures")),
    )
