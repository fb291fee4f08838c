"""Records of what the fairness gate said of each audit; and seals on these and on reviewers'
signatures
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "gate_records",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("model_version", sa.Integer(), nullable=False),
        sa.Column("model_sha256", sa.String(64), nullable=False),
        sa.Column("audit_sha256", sa.String(64), nullable=False),
        sa.Column("policy_sha256", sa.String(64), nullable=False),
        sa.Column("verdict", sa.String(12), nullable=False),
        sa.Column("seal", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gate_records")),
    )
    op.create_index(op.f("ix_gate_records_audit_sha256"), "gate_records", ["audit_sha256"])
    op.create_index(op.f("ix_gate_records_model_sha256"), "gate_records", ["model_sha256"])
    op.add_column("signoffs", sa.Column("seal", sa.String(64), nullable=False, server_default=""))
