"""An index of the disclosure log by person and time: how many students somebody saw today is asked
before each look
"""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_disclosures_user_id_at", "disclosures", ["user_id", "at"])
