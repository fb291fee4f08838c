"""Lists of suggestions that were shown, with the chances of their order; and whether that order may
be drawn by lot
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "shown_lists",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("shown_at", sa.DateTime(), nullable=False),
        sa.Column("student_id", sa.String(80), nullable=False),
        sa.Column("organization_id", sa.String(80), nullable=False),
        sa.Column("as_of", sa.Date(), nullable=False),
        sa.Column("snapshot_id", sa.String(64), nullable=False),
        sa.Column("model_sha256", sa.String(64), nullable=False),
        sa.Column("listed", sa.Text(), nullable=False),
        sa.Column("drawn", sa.Boolean(), nullable=False),
        sa.Column("challenger_sha256", sa.String(64), nullable=False),
        sa.Column("challenger", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shown_lists")),
    )
    op.create_index(op.f("ix_shown_lists_key"), "shown_lists", ["key"], unique=True)
    op.create_index(op.f("ix_shown_lists_student_id"), "shown_lists", ["student_id"])
    op.create_index(op.f("ix_shown_lists_organization_id"), "shown_lists", ["organization_id"])
    op.create_table(
        "exploration_settings",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("share", sa.Float(), nullable=False),
        sa.Column("within", sa.Float(), nullable=False),
        sa.Column("set_by", sa.String(40), nullable=False),
        sa.Column("set_at", sa.DateTime(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_exploration_settings")),
    )
