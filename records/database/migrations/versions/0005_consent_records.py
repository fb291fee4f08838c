"""Who wrote down a consent, a revocation or an opt-out, and when"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

WRITTEN_DOWN = {
    "consents": (
        "recorded_by",
        "recorded_at",
        "revoked_by",
        "revocation_recorded_by",
        "revocation_recorded_at",
    ),
    "opt_outs": ("recorded_by", "recorded_at", "end_recorded_by", "end_recorded_at"),
}


def upgrade() -> None:
    """Every column may be empty: of what was kept before, nobody wrote it down."""
    for table, names in WRITTEN_DOWN.items():
        for name in names:
            kind = (
                sa.DateTime()
                if name.endswith("_at")
                else sa.String(200 if name == "revoked_by" else 40)
            )
            op.add_column(table, sa.Column(name, kind, nullable=True))
